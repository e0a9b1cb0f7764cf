"""Many runs or one: what is asked for, what is done already, how far it is."""
