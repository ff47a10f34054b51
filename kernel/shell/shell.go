// Package shell is the command line on the kernel's console, for as long as there are no
// programs to do its work.
package shell

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"dfemu/kernel/kern"
)

// Command is what can be typed.
type Command struct {
	Name string
	Args string // how its arguments are written, for the help
	Help string // one line
	Run  func(w io.Writer, args []string) error
}

// Shell reads commands and runs them.
type Shell struct {
	k    *kern.Kernel
	read func([]byte) int
	out  io.Writer
	cmds []Command
	line []byte
}

// Prompt is what the shell prints when it is ready.
const Prompt = "dfly# "

const (
	maxLine    = 1024
	helpColumn = 28 // how wide what is typed is in the help; longer ones have a line of their own
)

// New returns a shell that reads characters with read, as a terminal sends them, and echoes them
// to out.
func New(k *kern.Kernel, read func([]byte) int, out io.Writer) *Shell {
	s := &Shell{k: k, read: read, out: out}
	s.Add(Command{"help", "", "list the commands", func(w io.Writer, _ []string) error {
		for _, c := range s.cmds {
			use := strings.TrimSpace(c.Name + " " + c.Args)
			if len(use) > helpColumn {
				fmt.Fprintln(w, use)
				use = ""
			}
			fmt.Fprintf(w, "%-*s %s\n", helpColumn, use, c.Help)
		}
		return nil
	}})
	return s
}

// Add makes commands known.
func (s *Shell) Add(c ...Command) {
	s.cmds = append(s.cmds, c...)
	slices.SortStableFunc(s.cmds, func(a, b Command) int { return strings.Compare(a.Name, b.Name) })
}

// Run reads and runs commands until input ends.
func (s *Shell) Run() {
	fmt.Fprint(s.out, Prompt)
	// One at a time: what follows a command may be meant for what it starts, as the debugger.
	var b [1]byte
	for {
		n := s.read(b[:])
		if n == 0 {
			return
		}
		for _, c := range b[:n] {
			s.key(c)
		}
	}
}

// key takes a character.
func (s *Shell) key(c byte) {
	switch {
	case c == '\r' || c == '\n':
		fmt.Fprint(s.out, "\n")
		s.Exec(string(s.line))
		s.line = s.line[:0]
		fmt.Fprint(s.out, Prompt)
	case c == 8 || c == 127:
		if len(s.line) > 0 {
			s.line = s.line[:len(s.line)-1]
			fmt.Fprint(s.out, "\b \b")
		}
	case c == 3 || c == 21: // ^C, ^U
		s.line = s.line[:0]
		fmt.Fprint(s.out, "\n", Prompt)
	case c >= ' ' && len(s.line) < maxLine:
		s.line = append(s.line, c)
		_, _ = s.out.Write([]byte{c}) // the console is where an error would be told
	}
}

// Exec runs one line. Commands in it are separated by semicolons.
func (s *Shell) Exec(line string) {
	for one := range strings.SplitSeq(line, ";") {
		if f := strings.Fields(one); len(f) > 0 {
			s.exec(f)
		}
	}
}

func (s *Shell) exec(f []string) {
	defer s.k.Recover(f[0])
	for _, c := range s.cmds {
		if c.Name == f[0] {
			if err := c.Run(s.out, f[1:]); err != nil {
				fmt.Fprintf(s.out, "%s: %v\n", f[0], err)
			}
			return
		}
	}
	fmt.Fprintf(s.out, "%s: no such command; help lists them\n", f[0])
}
