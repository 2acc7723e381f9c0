#compdef agent
# Completion of agent for zsh: source this after compinit, or put it into a
# directory of $fpath as _agent. It asks the program itself what may follow.
_doyen_agent() {
	local -a words_before choices
	local dashes=${words[(i)--]}
	if (( dashes < CURRENT )); then
		# What follows is the command of another program, with a completion of its own.
		shift $dashes words
		(( CURRENT -= dashes ))
		_normal
		return
	fi
	words_before=(${words[1,CURRENT-1]})
	if [[ ${words[CURRENT]} == -- ]]; then
		words_before+=(-) # -- itself would end the flags
	elif [[ ${words[CURRENT]} == -* ]]; then
		words_before+=(${words[CURRENT]})
	fi
	choices=(${(f)"$(${words_before} --generate-bash-completion 2>/dev/null)"})
	if (( ${#choices} )); then
		_describe 'agent' choices
	else
		_files
	fi
}
if [[ ${funcstack[1]} == _agent ]]; then
	_doyen_agent "$@" # out of a directory of $fpath
else
	compdef _doyen_agent agent
fi
