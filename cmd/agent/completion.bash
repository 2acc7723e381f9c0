# Completion of agent for bash: source this, or put it into
# /etc/bash_completion.d. It asks the program itself what may follow.
_doyen_agent() {
	local cur words i
	COMPREPLY=()
	# After -- comes the command of another program, which has a completion of its own.
	for ((i = 1; i < COMP_CWORD; i++)); do
		if [[ ${COMP_WORDS[i]} == -- ]]; then
			if declare -F _command_offset >/dev/null; then
				_command_offset $((i + 1))
			fi
			return
		fi
	done
	cur=${COMP_WORDS[COMP_CWORD]}
	words=("${COMP_WORDS[@]:0:COMP_CWORD}")
	if [[ $cur == -- ]]; then
		words+=(-) # -- itself would end the flags
	elif [[ $cur == -* ]]; then
		words+=("$cur")
	fi
	mapfile -t COMPREPLY < <(compgen -W "$("${words[@]}" --generate-bash-completion 2>/dev/null)" -- "$cur")
}
complete -o bashdefault -o default -F _doyen_agent agent
