"""The paper's claims, put to records: no network runs here, and torch is never loaded."""
