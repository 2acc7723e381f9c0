# Completion of agent for bash: source this, or put it into
# /etc/bash_completion.d. It asks the program itself what may follow.
_doyen_agent() {
	local cur words
	COMPREPLY=()
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
