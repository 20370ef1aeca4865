# Completion of tammactl for bash.
_tammactl() {
    local word=${COMP_WORDS[COMP_CWORD]} command=
    local -i index
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
            status | backup | backups | restore | drill | check | prune | logs | doctor)
                command=${COMP_WORDS[index]}
                break
                ;;
        esac
    done
    case $command in
        '') mapfile -t COMPREPLY < <(compgen -W "status backup backups restore drill check prune logs doctor --stack --json --wait --help" -- "$word") ;;
        restore) mapfile -t COMPREPLY < <(compgen -W "latest --part --plan --source --repository --json --help" -- "$word") ;;
        backup) mapfile -t COMPREPLY < <(compgen -W "--reason --tag --repository --json --help" -- "$word") ;;
        check) mapfile -t COMPREPLY < <(compgen -W "--everything --repository --json --help" -- "$word") ;;
        logs) mapfile -t COMPREPLY < <(compgen -W "--tail --follow --help" -- "$word") ;;
        *) mapfile -t COMPREPLY < <(compgen -W "--repository --json --help" -- "$word") ;;
    esac
}
complete -F _tammactl tammactl
