package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

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
			if len(args) == 0 {
				return listDevices(w, m, "")
			}
			m, dir := mountOf(c, m, args[0])
			return listDevices(w, m, dir)
		}},
		{Name: "mount", Args: "[PATH [jail]]", Help: "list where devices are mounted, or mount them once more", Run: func(w io.Writer, args []string) error {
			return mount(w, c, args)
		}},
		{Name: "umount", Args: "PATH", Help: "undo mount", Run: func(_ io.Writer, args []string) error {
			for _, o := range c.Mounts() {
				if len(args) == 1 && o.Path == args[0] && o != m {
					c.Unmount(o)
					return nil
				}
			}
			return errors.New("which mount? /dev stays")
		}},
		{Name: "random", Args: "[BYTES]", Help: "read /dev/random, and what it was given", Run: func(w io.Writer, args []string) error {
			return showRandom(w, m, args)
		}},
		{Name: "rule", Args: "[on PATH|jail] hide|show|clear|link|MODE [PATTERN [NAME]]", Help: "change how devices are shown, everywhere, in a mount or in jails", Run: func(_ io.Writer, args []string) error {
			return addRule(c, args)
		}},
	}
}

func listDevices(w io.Writer, m *devfs.Mount, dir string) error {
	list, err := m.ReadDir(dir, 2)
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
			fmt.Fprintf(w, "c%s %d %d %12d %s\n", e.Mode.Perm().String()[1:], e.UID, e.GID, e.Dev.Size, name)
		default:
			fmt.Fprintf(w, "l%s %d %d %12s %s -> %s\n", e.Mode.Perm().String()[1:], e.UID, e.GID, "", name, e.Target)
		}
	}
	return nil
}

// mountOf finds the mount that a path is in, and what is left of it: in usual, if it is in none.
func mountOf(c *devfs.Core, usual *devfs.Mount, path string) (*devfs.Mount, string) {
	best, rest := usual, path
	for _, m := range c.Mounts() {
		if r, ok := strings.CutPrefix(path, m.Path); ok && (r == "" || r[0] == '/') && len(r) < len(rest) {
			best, rest = m, r
		}
	}
	return best, strings.Trim(rest, "/")
}

// mount mounts devices at a path, or lists the mounts.
func mount(w io.Writer, c *devfs.Core, args []string) error {
	if len(args) == 0 {
		for _, m := range c.Mounts() {
			jail := ""
			if m.Jail {
				jail = " (jail)"
			}
			fmt.Fprintf(w, "devfs on %s%s\n", m.Path, jail)
		}
		return nil
	}
	if !strings.HasPrefix(args[0], "/") || path.Clean(args[0]) != args[0] || args[0] == "/" || len(args) > 2 || len(args) > 1 && args[1] != "jail" {
		return errors.New("a path from / on, without . and .., and perhaps jail")
	}
	for _, m := range c.Mounts() {
		if m.Path == args[0] {
			return fmt.Errorf("%s: is mounted already", m.Path)
		}
	}
	c.Mount(args[0], len(args) > 1)
	return nil
}

func addRule(c *devfs.Core, args []string) error {
	var r devfs.Rule
	switch {
	case len(args) > 1 && args[0] == "on":
		r.Mount, args = args[1], args[2:]
	case len(args) > 0 && args[0] == "jail":
		r.Jail, args = true, args[1:]
	}
	if len(args) == 0 {
		return errors.New("which rule?")
	}
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
		mode, err := strconv.ParseUint(args[0], 8, 32)
		if err != nil || mode > 0o777 {
			return fmt.Errorf("%s: neither hide, show, link nor clear, nor a mode from 000 to 777", args[0])
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
