package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"dfemu/tests/tiny"
)

// TestMain lets the test binary be dfemu, when it is called so.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dfemu": main})
}

// TestScripts runs the command lines in testdata/script. Besides testscript's
// commands there are
//
//	exits STATUS COMMAND…   which must end with that status
//	tiny FILE KIND [ARG]    which writes one of the guests of package tiny
//	cut FILE SIZE           which truncates a file, or makes it longer
//
// and the condition [seabios], that there is a BIOS to boot disks with.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Condition: func(cond string) (bool, error) {
			if cond != "seabios" {
				return false, fmt.Errorf("unknown condition %q", cond)
			}
			_, err := findBIOS()
			return err == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"tiny":  writeTiny,
			"cut":   cut,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits status command…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d\nstderr:\n%s", strings.Join(args[1:], " "), got, want, ts.ReadFile("stderr"))
	}
}

func writeTiny(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: tiny file kind [argument]")
	}
	arg := strings.Join(args[2:], " ")
	kinds := map[string]func() []byte{
		"poweroff":  tiny.PowerOff,
		"exit":      func() []byte { n, err := strconv.Atoi(arg); ts.Check(err); return tiny.Exit(uint8(n)) },
		"panic":     tiny.Panic,
		"reset":     tiny.Reset,
		"triple":    tiny.TripleFault,
		"hang":      tiny.Hang,
		"spin":      tiny.Spin,
		"run":       tiny.Run,
		"print":     func() []byte { return tiny.Print(arg + "\r\n") },
		"printhang": func() []byte { return tiny.PrintHang(arg + "\r\n") },
		"printfile": func() []byte { return tiny.Print(ts.ReadFile(arg)) },
		"echo":      tiny.Echo,
		"elf":       tiny.ELF,
		"bzimage":   tiny.BzImage,
		"window":    func() []byte { return tiny.Window(1, 0x74, 5) }, // of the virtio-rng that every machine has
		"resets":    func() []byte { n, err := strconv.Atoi(arg); ts.Check(err); return tiny.CountResets(uint8(n)) },
	}
	make := kinds[args[1]]
	if make == nil {
		ts.Fatalf("tiny: no kind %s", args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), make(), 0o600))
}

func cut(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut file size")
	}
	size, err := strconv.ParseInt(args[1], 0, 64)
	ts.Check(err)
	name := ts.MkAbs(args[0])
	if _, err := os.Stat(name); err != nil {
		ts.Check(os.WriteFile(name, nil, 0o600))
	}
	ts.Check(os.Truncate(filepath.Clean(name), size))
}
