"""What a shell may complete of a training command line: names of knobs, and the choices of groups and knobs."""

import os
from collections.abc import Sequence

from omegaconf import DictConfig

from bn_repro.checks.values import nearest, shown
from bn_repro.config.schemas import KNOBS
from bn_repro.launcher.command_line import parser
from bn_repro.launcher.grids import CONFIGS, composed, is_group, knob_names
from bn_repro.launcher.refusals import LAUNCHER, MADE_BY_OTHERS, choices_of

SCRIPTS = ("train.py", "train")  # the second of bn-repro
# By shell: what turns completion on, and off again. Each asks this program, with the line up to the cursor in COMP_LINE.
SHELLS = {
    "bash": (
        """\
_bn_repro_train() {
    [[ "${COMP_WORDS[0]##*/} ${COMP_WORDS[1]}" == "bn-repro train" || -f "${COMP_WORDS[1]}" && "${COMP_WORDS[1]}" == *train.py ]] || return
    export COMP_LINE="${COMP_LINE:0:COMP_POINT}"
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" "${COMP_WORDS[1]}" -sc query=bash 2>/dev/null)
    local word="${COMP_LINE##* }"
    local before="${word%"${word##*[=:]}"}"
    [[ "$COMP_WORDBREAKS" == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"$before"}")
}
complete -o nospace -o default -F _bn_repro_train python python3 bn-repro""",
        "complete -r python python3 bn-repro; unset -f _bn_repro_train",
    ),
    "zsh": (
        """\
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
_bn_repro_train() {
    [[ "${words[1]:t} ${words[2]}" == "bn-repro train" || -f "${words[2]}" && "${words[2]}" == *train.py ]] || { _files; return; }
    local -a found
    found=("${(@f)$(COMP_LINE="${BUFFER[1,CURSOR]}" "${words[1]}" "${words[2]}" -sc query=zsh 2>/dev/null)}")
    compadd -Q -S '' -- $found
}
compdef _bn_repro_train python python3 bn-repro""",
        "compdef -d python python3 bn-repro; unfunction _bn_repro_train",
    ),
    "fish": (
        """\
function _bn_repro_train
    set -l words (commandline -opc)
    COMP_LINE=(commandline -cp) $words[1] $words[2] -sc query=fish 2>/dev/null
end
for program in python python3 bn-repro
    complete -c $program -n 'string match -qr "train(\\.py)?\\$" -- (commandline -opc)[2]' -f -a '(_bn_repro_train)'
end""",
        "for program in python python3 bn-repro; complete -e -c $program; end; functions -e _bn_repro_train",
    ),
}


def completion(words: Sequence[str]) -> str:
    """Return the script that `install=SHELL` or `uninstall=SHELL` asks for, or an answer to `query=SHELL`, one choice a line.

    Raises:
        ValueError: one line.
    """
    verb, _, shell = words[0].partition("=") if len(words) == 1 else ("", "", "")
    if verb not in ("install", "uninstall", "query"):
        raise ValueError("-sc is followed by install=SHELL or uninstall=SHELL")
    if shell not in SHELLS:
        raise ValueError(f"-sc {verb}={shown(shell)} is not a choice{nearest(shell, SHELLS)}; choices: {', '.join(SHELLS)}")
    if verb != "query":
        return SHELLS[shell][verb == "uninstall"]
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()
    at = next((place for place, word in enumerate(typed) if word.endswith(SCRIPTS)), -1)
    words = typed[at + 1 :] + ([""] if line.endswith(" ") else [])
    return "\n".join(choices_for(words[-1], words[:-1]) if words else [])


def choices_for(word: str, before: Sequence[str]) -> list[str]:
    """List what an unfinished word may become, given the words before it."""
    name, has_value, value = word.partition("=")
    if word.startswith("-"):
        return [flag for action in parser()._actions for flag in action.option_strings if flag.startswith(word)]
    given = {each.split("=")[0] for each in before}
    if not has_value:
        names = [path.name for path in CONFIGS.iterdir() if is_group(path.name)]
        names += [knob for knob in names_after(before) if knob not in MADE_BY_OTHERS]
        return sorted({f"{each}=" for each in [*names, LAUNCHER] if each.startswith(name) and each not in given})
    if is_group(name) or name == LAUNCHER:
        values = choices_of(name)
    elif name in KNOBS:
        values = list(KNOBS[name].metadata["choices"]) or (["true", "false"] if KNOBS[name].type is bool else [])
    else:
        values = []
    swept, comma, last = value.rpartition(",")
    return [f"{name}={swept}{comma}{each}" for each in values if each.startswith(last)]


def names_after(before: Sequence[str]) -> list[str]:
    """List the knobs of the network and experiment that a line has chosen so far; all where it does not say."""
    try:
        chosen: DictConfig = composed(tuple(word for word in before if is_group(word.split("=")[0])))
    except ValueError:
        return list(KNOBS)
    return knob_names(chosen)
