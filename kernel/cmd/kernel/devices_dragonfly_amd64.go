package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"dfemu/kernel/kern"
	"dfemu/kernel/platform/pc64"
	"dfemu/kernel/shell"
	"dfemu/kernel/vfs/devfs"
)

// memory is a device without hardware: what reading it gives, nil for nothing, and who is given what is written.
type memory struct {
	read  func([]byte) (int, error)
	write func([]byte)
}

// Open implements devfs.Ops.
func (m memory) Open(*devfs.Dev) (devfs.File, error) { return m, nil }

// ReadAt implements devfs.File.
func (m memory) ReadAt(b []byte, _ int64) (int, error) {
	if m.read == nil {
		return 0, io.EOF
	}
	return m.read(b)
}

// WriteAt implements devfs.File.
func (m memory) WriteAt(b []byte, _ int64) (int, error) {
	if m.write != nil {
		m.write(b)
	}
	return len(b), nil
}

// Close implements devfs.File.
func (memory) Close() error { return nil }

// standardDevices are there always.
func standardDevices(k *kern.Kernel, c *devfs.Core) {
	for name, ops := range map[string]memory{
		"null":    {},
		"zero":    {read: func(b []byte) (int, error) { clear(b); return len(b), nil }},
		"random":  {rand.Read, pc64.AddEntropy}, // what is written is mixed in
		"urandom": {rand.Read, pc64.AddEntropy},
	} {
		if err := c.Create(&devfs.Dev{Name: name, Type: "mem", Mode: 0o666, Ops: ops}); err != nil {
			k.Printf("%v", err)
		}
	}
}

// deviceCommands are the shell's commands for /dev.
func deviceCommands(c *devfs.Core, m *devfs.Mount) []shell.Command {
	return []shell.Command{
		{Name: "ls", Args: "[DIRECTORY]", Help: "list devices", Run: func(w io.Writer, args []string) error {
			dir := ""
			if len(args) > 0 {
				dir = args[0]
			}
			return listDevices(w, m, dir)
		}},
		{Name: "random", Args: "[BYTES]", Help: "read /dev/random, and what it was given", Run: func(w io.Writer, args []string) error {
			return showRandom(w, m, args)
		}},
		{Name: "rule", Args: "hide|show|clear|link|MODE [PATTERN [NAME]]", Help: "change how devices are shown", Run: func(_ io.Writer, args []string) error {
			return addRule(c, args)
		}},
	}
}

func listDevices(w io.Writer, m *devfs.Mount, dir string) error {
	list, err := m.ReadDir(trimDev(dir), 2)
	if err != nil {
		return err
	}
	for _, e := range list {
		name := e.Name
		if dir != "" {
			name = dir + "/" + name
		}
		switch e.Kind {
		case devfs.Dir:
			if err := listDevices(w, m, name); err != nil {
				return err
			}
		case devfs.Device:
			fmt.Fprintf(w, "%v %d %d %12d %s\n", e.Mode, e.UID, e.GID, e.Dev.Size, name)
		default:
			fmt.Fprintf(w, "%v %d %d %12s %s -> %s\n", e.Mode|fs.ModeSymlink, e.UID, e.GID, "", name, e.Target)
		}
	}
	return nil
}

func trimDev(s string) string {
	if s == "/dev" {
		return ""
	}
	return s
}

func addRule(c *devfs.Core, args []string) error {
	if len(args) == 0 {
		return errors.New("which rule?")
	}
	var r devfs.Rule
	if len(args) > 1 {
		r.Pattern = args[1]
	}
	yes, no := true, false
	switch args[0] {
	case "clear":
		c.ClearRules()
		return nil
	case "hide":
		r.Hide = &yes
	case "show":
		r.Hide = &no
	case "link":
		if len(args) < 3 {
			return errors.New("link PATTERN NAME")
		}
		r.Link = args[2]
	default:
		var mode uint32
		if _, err := fmt.Sscanf(args[0], "%o", &mode); err != nil || mode > 0o777 {
			return fmt.Errorf("%s: no mode", args[0])
		}
		p := fs.FileMode(mode)
		r.Mode = &p
	}
	return c.AddRule(r)
}

// showRandom reads /dev/random.
func showRandom(w io.Writer, m *devfs.Mount, args []string) error {
	n := int64(32)
	if len(args) > 0 {
		var err error
		if n, err = number(args[0]); err != nil || n > 4096 {
			return fmt.Errorf("%s: not a number of bytes up to 4096", args[0])
		}
	}
	f, err := m.Open("random")
	if err != nil {
		return err
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil {
		return errors.Join(err, f.Close())
	}
	got, rdrand := pc64.Entropy()
	fmt.Fprintf(w, "random: %d bytes were added; the processor has a generator: %v\n", got, rdrand)
	hexDump(w, 0, b)
	return f.Close()
}
