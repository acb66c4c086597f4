"""`nanofleet completion`: scripts by which shells complete commands, flags, and what a flag can be.

They hold all there is to know, so that no key costs a start of Python. Written here, because the library for
it (shtab) knows fish from Python 3.9 on only, and would come along to every camera.
"""

from __future__ import annotations

import shlex
from typing import Dict, Iterator, List, Type

from pydantic.fields import FieldInfo

from fleet.commands import COMMANDS
from fleet.commands.settings import CompletionSettings
from wire.flags import choices_of, flag_of, is_positional, metavar_of
from wire.settings import Settings

_BASH = """\
# Completes nanofleet in bash: eval "$(nanofleet completion bash)"
_nanofleet() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words=""
    local command=${COMP_WORDS[1]}
    (( COMP_CWORD > 2 )) && case "$command ${COMP_WORDS[2]}" in
    @PAIRS@) command="$command ${COMP_WORDS[2]}" ;;
    esac
    (( COMP_CWORD == 1 )) && command=""
    case "$command $before" in
@VALUES@
    *) case "$command" in
@WORDS@
       esac ;;
    esac
    [[ $word == -* ]] || words=${words%%--*}
    # Where nothing fits, readline completes the names of files.
    COMPREPLY=( $(compgen -W "$words" -- "$word") )
}
complete -o default -F _nanofleet nanofleet
"""
_ZSH = """\
# Completes nanofleet in zsh, after compinit: eval "$(nanofleet completion zsh)"
autoload -U +X bashcompinit && bashcompinit
"""
_FISH = """\
# Completes nanofleet in fish: nanofleet completion fish > ~/.config/fish/completions/nanofleet.fish
function __nanofleet_command
    set -l words (commandline -opc)[2..-1] ''
    switch "$words[1..2]"
        case @PAIRS@
            echo "$words[1..2]"
        case '*'
            echo "$words[1]"
    end
end
function __nanofleet_in
    test (__nanofleet_command) = "$argv"
end
complete -c nanofleet -e
"""


def print_completion(settings: CompletionSettings) -> int:
    """Print a shell's script; returns the exit code."""
    print({"bash": bash, "zsh": lambda: _ZSH + bash(), "fish": fish}[settings.shell](), end="")
    return 0


def bash() -> str:
    """The script for bash."""
    takers: Dict[str, List[str]] = {}
    for name, command in COMMANDS.items():
        for key, field in _flags(command.settings).items():
            if field.annotation is not bool:
                taker = shlex.quote(f"{name} {flag_of(key)}")
                takers.setdefault(" ".join(choices_of(field)), []).append(taker)
    values = [f"    {'|'.join(flags)}) words={shlex.quote(words)} ;;" for words, flags in takers.items()]
    words = {"": _first_words(), "help": _first_words(), **{g: _second_words(g) for g in _groups()}}
    for name, command in COMMANDS.items():
        words[name] = [*words.get(name, []), *_arguments(name), *_all_flags(command.settings)]
    arms = [f"       {shlex.quote(name)}) words={shlex.quote(' '.join(w))} ;;" for name, w in words.items()]
    script = _BASH.replace("@PAIRS@", "|".join(shlex.quote(name) for name in COMMANDS if " " in name))
    return script.replace("@VALUES@", "\n".join(values)).replace("@WORDS@", "\n".join(arms))


def fish() -> str:
    """The script for fish, which shows the help beside each flag."""
    script = _FISH.replace("@PAIRS@", " ".join(_fish_quoted(name) for name in COMMANDS if " " in name))
    lines = [_fish_words("", word, _summary(word)) for word in _first_words()]
    lines += [_fish_words("help", word, _summary(word)) for word in _first_words()]
    for group in _groups():
        lines += [_fish_words(group, word, _summary(f"{group} {word}")) for word in _second_words(group)]
    for name, command in COMMANDS.items():
        lines += [_fish_words(name, word, "") for word in _arguments(name)]
        lines += _fish_flags(name, command.settings)
    return script + "\n".join(lines) + "\n"


def _fish_words(command: str, word: str, summary: str) -> str:
    shown = f" -d {_fish_quoted(summary)}" if summary else ""
    return f"complete -c nanofleet -n {_fish_quoted(f'__nanofleet_in {command}'.strip())} -f -a {word}{shown}"


def _fish_flags(name: str, settings: Type[Settings]) -> Iterator[str]:
    for key, field in _flags(settings).items():
        values = choices_of(field)
        takes = f" -x -a {_fish_quoted(' '.join(values))}" if values else " -r"
        if field.annotation is not bool and metavar_of(field) != "PATH" and not values:
            takes = " -x"
        about = _fish_quoted((field.description or "").split(";")[0].split(" (")[0])
        begin = f"complete -c nanofleet -n {_fish_quoted(f'__nanofleet_in {name}')} -l"
        flag = flag_of(key)[2:]
        yield f"{begin} {flag}{'' if field.annotation is bool else takes} -d {about}"
        if field.annotation is bool:
            yield f"{begin} no-{flag} -d {_fish_quoted(f'not --{flag}')}"


def _fish_quoted(text: str) -> str:
    # Within single quotes fish knows two escapes, where other shells know none.
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _flags(settings: Type[Settings]) -> Dict[str, FieldInfo]:
    return {key: field for key, field in settings.model_fields.items() if not is_positional(field)}


def _all_flags(settings: Type[Settings]) -> List[str]:
    fields = _flags(settings)
    negated = [f"--no-{flag_of(key)[2:]}" for key, field in fields.items() if field.annotation is bool]
    return [*(flag_of(key) for key in fields), *negated, "--help"]


def _arguments(name: str) -> List[str]:
    """The words that a command's arguments can be, where that is known."""
    if name == "settings":
        return _first_words()
    fields = COMMANDS[name].settings.model_fields.values()
    return [word for field in fields if is_positional(field) for word in choices_of(field)]


def _groups() -> List[str]:
    return sorted({name.split()[0] for name in COMMANDS if " " in name})


def _first_words() -> List[str]:
    return list(dict.fromkeys([*(name.split()[0] for name in COMMANDS), "help"]))


def _second_words(group: str) -> List[str]:
    return [name.split()[1] for name in COMMANDS if name.startswith(f"{group} ")]


def _summary(name: str) -> str:
    return COMMANDS[name].summary if name in COMMANDS else ""
