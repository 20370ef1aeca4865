# Completion of tammactl for bash.
_tammactl() {
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} command='' words
    local -i index
    for ((index = 1; index < COMP_CWORD; index++)); do
        case ${COMP_WORDS[index]} in
            status | releases | update | rollback | resume | backup | backups | restore | discard | drill | check | prune | logs | doctor)
                command=${COMP_WORDS[index]}
                break
                ;;
        esac
    done
    case $before in
        --part) words="database broker volumes files" ;;
        --stack) words=$(ls /etc/tamma 2>/dev/null) ;;
        --wait | --reason | --tag | --source | --repository | --tail) words='' ;;
        *)
            words="--stack --json --wait --help"
            case $command in
                '')
                    words+=" status releases update rollback resume backup backups restore discard drill check"
                    words+=" prune logs doctor"
                    ;;
                releases) words+=" --log" ;;
                update) words+=" --reason --plan" ;;
                rollback) words+=" --plan --yes" ;;
                backup) words+=" --reason --tag --repository" ;;
                restore) words+=" latest --part --plan --source --host --repository --unsigned --yes" ;;
                discard) words+=" --all --needed --yes" ;;
                drill) words+=" latest --repository --unsigned" ;;
                check) words+=" --everything --repository" ;;
                prune) words+=" --repository --workflows-finished-before --failed --dry-run" ;;
                logs) words+=" --tail --follow" ;;
            esac
            ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}
complete -F _tammactl tammactl
