// Package portable is where Windows differs from the other systems in what the
// program asks of one. No agent runs on Windows: there the commands that ask an
// agent elsewhere need an answer, and everything else only has to compile.
//
// Internal to Doyen: no promise.
package portable
