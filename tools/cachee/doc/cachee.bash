# bash completion of cachee; made by cachee_doc from the help of the commands.
_cachee_segments() {
  local path
  for path in /dev/shm/cachee.*; do
    path=${path#/dev/shm/cachee.}
    [[ $path == '*' || $path == *.lock* ]] || printf '%s\n' "$path"
  done
}

_cachee() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local command='' verbs='' options='' files='' index word
  COMPREPLY=()
  for ((index = 1; index < COMP_CWORD; index++)); do
    word=${COMP_WORDS[index]}
    case $word in
    -n | --name | --runtime-dir | --state-dir) ((index++)) ;;
    -*) ;;
    *)
      if [[ -z $command ]]; then
        command=$word
        case $command in
    trigger) verbs='register list show source stats test remove enable disable pause resume export import' ;;
    group) verbs='create list show remove' ;;
    dlq) verbs='list show replay purge' ;;
    outbox) verbs='list' ;;
        esac
        [[ -n $verbs ]] || break
      else
        command+=" $word"
        verbs=
        break
      fi
      ;;
    esac
  done
  case $previous in
  -n | --name)
    if [[ $command != 'trigger register' || $previous == -n ]]; then
      mapfile -t COMPREPLY < <(compgen -W "$(_cachee_segments)" -- "$current")
      return
    fi
    ;;
  --runtime-dir | --state-dir)
    mapfile -t COMPREPLY < <(compgen -d -- "$current")
    return
    ;;
  esac
  case $command in
  '') options='-n --name --json --runtime-dir --state-dir --version -h --help' ;;
    'get') options='-h --help -l --long -z --bare -n --name --json --runtime-dir --state-dir'; files= ;;
    'set') options='-h --help --ttl --cost --meta --depends-on --nx --xx --keep-ttl --if-version -n --name --json --runtime-dir --state-dir'; files= ;;
    'del') options='-h --help --if-version -n --name --json --runtime-dir --state-dir'; files= ;;
    'exists') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'ttl') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'expire') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'incr') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'scan') options='-h --help --limit -l --long -n --name --json --runtime-dir --state-dir'; files= ;;
    'stat') options='-h --help --interval -n --name --json --runtime-dir --state-dir'; files= ;;
    'top') options='-h --help --interval -n --name --json --runtime-dir --state-dir'; files= ;;
    'clients') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'slabs') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'ring') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'events') options='-h --help --limit -f --follow -n --name --json --runtime-dir --state-dir'; files= ;;
    'fsck') options='-h --help --repair -n --name --json --runtime-dir --state-dir'; files= ;;
    'load') options='-h --help --nx -n --name --json --runtime-dir --state-dir'; files=yes ;;
    'dump') options='-h --help --match -n --name --json --runtime-dir --state-dir'; files=yes ;;
    'bench') options='-h --help --keys --value-bytes --seconds --threads --write-percent -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger register') options='-h --help --name --priority --on-full --retry --backoff --timeout --memory --steps --sample --max-depth --disabled -n --json --runtime-dir --state-dir'; files=yes ;;
    'trigger list') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger show') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger source') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger stats') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger test') options='-h --help --source -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger remove') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger enable') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger disable') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger pause') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger resume') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger export') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'trigger import') options='-h --help -n --name --json --runtime-dir --state-dir'; files=yes ;;
    'group create') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'group list') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'group show') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'group remove') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'dlq list') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'dlq show') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'dlq replay') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'dlq purge') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'outbox list') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'log') options='-h --help --lines -f --follow --verify -n --name --json --runtime-dir --state-dir'; files= ;;
    'trace') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
    'verify') options='-h --help -n --name --json --runtime-dir --state-dir'; files= ;;
  esac
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$options" -- "$current")
  elif [[ -z $command ]]; then
    mapfile -t COMPREPLY < <(compgen -W 'get set del exists ttl expire incr scan stat top clients slabs ring events fsck load dump bench trigger group dlq outbox log trace verify' -- "$current")
  elif [[ -n $verbs ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$verbs" -- "$current")
  elif [[ -n $files ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}
complete -o filenames -F _cachee cachee
