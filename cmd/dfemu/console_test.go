package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dfemu/tests/tiny"
)

// giveUp ends tests of a command that hangs.
const giveUp = time.Minute

// command prepares dfemu boot with a guest of package tiny.
func command(t *testing.T, image []byte, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	// TestMain runs the command when the program is called so.
	program, kernel := filepath.Join(dir, "dfemu"), filepath.Join(dir, "kernel")
	if err := os.Symlink(self, program); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(kernel, image, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"boot", "--accel=interp", "--memory=16M", "--kernel", kernel}, args...)...)
	timer := time.AfterFunc(giveUp, func() {
		if cmd.Process != nil {
			_ = cmd.Process.Signal(syscall.SIGQUIT)
		}
	})
	t.Cleanup(func() { timer.Stop() })
	return cmd
}

// status waits for a command and returns its exit status.
func status(t *testing.T, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return exit.ExitCode()
	case err != nil:
		t.Fatal(err)
	}
	return 0
}

// screen is the user's side of a terminal.
type screen struct {
	t      *testing.T
	master *os.File
	mu     sync.Mutex
	cond   *sync.Cond
	seen   bytes.Buffer
	at     int // what expect has found so far
	closed bool
}

func newScreen(t *testing.T, master *os.File) *screen {
	s := &screen{t: t, master: master}
	s.cond = sync.NewCond(&s.mu)
	go func() {
		buf := make([]byte, 256)
		for {
			n, err := master.Read(buf)
			s.mu.Lock()
			s.seen.Write(buf[:n])
			s.closed = err != nil
			s.cond.Broadcast()
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// expect waits until the text has appeared behind what was expected before.
func (s *screen) expect(text string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if i := strings.Index(s.seen.String()[s.at:], text); i >= 0 {
			s.at += i + len(text)
			return
		}
		if s.closed {
			s.t.Fatalf("the terminal shows %q, want %q", s.seen.String()[s.at:], text)
		}
		s.cond.Wait()
	}
}

// text is all that has appeared.
func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.String()
}

func (s *screen) typeIn(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.master, text); err != nil {
		s.t.Fatal(err)
	}
}

// termModes returns the terminal's settings.
func termModes(t *testing.T, f *os.File) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

// TestTerminal uses the command on a terminal, which is raw while the guest
// runs and as it was before afterwards, however the guest ends.
func TestTerminal(t *testing.T) {
	for _, tt := range []struct {
		name   string
		args   []string
		end    func(s *screen, cmd *exec.Cmd)
		status int
	}{
		{"power off", nil, func(s *screen, _ *exec.Cmd) { s.typeIn("q") }, 0},
		{"ctrl-A x", nil, func(s *screen, _ *exec.Cmd) { s.typeIn("\x01x") }, statusStopped},
		{"SIGTERM", nil, func(_ *screen, cmd *exec.Cmd) { _ = cmd.Process.Signal(syscall.SIGTERM) }, statusStopped},
		{"SIGHUP", nil, func(_ *screen, cmd *exec.Cmd) { _ = cmd.Process.Signal(syscall.SIGHUP) }, statusStopped},
		{"time-out", []string{"--timeout=300ms"}, nil, statusTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			master, slave, err := newPTY()
			if err != nil {
				t.Skipf("no pseudo-terminals here: %v", err)
			}
			defer master.Close()
			defer slave.Close()
			before := termModes(t, slave)
			cmd := command(t, tiny.Echo(), tt.args...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
			s := newScreen(t, master)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			if tt.end != nil {
				talk(s, slave)
				tt.end(s, cmd)
			}
			if got := status(t, cmd); got != tt.status {
				t.Errorf("ended with status %d, want %d; the terminal shows\n%s", got, tt.status, s.text())
			}
			if after := termModes(t, slave); after != before {
				t.Errorf("the terminal is left as %+v, was %+v", after, before)
			}
		})
	}
}

// talk sees that the terminal is raw, and that keys go where they should.
func talk(s *screen, slave *os.File) {
	s.t.Helper()
	s.expect("ready\r\n")
	during := termModes(s.t, slave)
	if during.Lflag&(unix.ECHO|unix.ICANON|unix.ISIG) != 0 || during.Oflag&unix.OPOST != 0 {
		s.t.Errorf("the terminal is not raw: local modes %#x, output modes %#x", during.Lflag, during.Oflag)
	}
	// Control characters are the guest's, but for the one that escapes.
	s.typeIn("a\x03b\x01\x01c")
	s.expect("a\x03b\x01c")
	s.typeIn("\x01h")
	s.expect("Ctrl-A x  stop the machine")
	s.typeIn("d\x01")
	s.typeIn("s")
	s.expect("d")
	s.expect(" instructions, ")
}

// TestSignalWithoutTerminal stops a guest whose console is a pipe, and whose input is at its end: it waits for more.
func TestSignalWithoutTerminal(t *testing.T) {
	cmd := command(t, tiny.Echo())
	cmd.Stdin = strings.NewReader("")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	if got := status(t, cmd); got != statusStopped {
		t.Errorf("ended with status %d, want %d", got, statusStopped)
	}
}

// TestReaderGone runs a guest whose output nobody reads any more: it must not
// notice.
func TestReaderGone(t *testing.T) {
	cmd := command(t, tiny.Print(strings.Repeat("nobody reads this\n", 1000)))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd.Stdout = w
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if got := status(t, cmd); got != 0 {
		t.Errorf("ended with status %d, want 0:\n%s", got, stderr.Bytes())
	}
}

// TestClosedFiles runs a guest without standard input and output.
func TestClosedFiles(t *testing.T) {
	cmd := command(t, tiny.Print("hello\n"))
	sh := exec.Command("/bin/sh", "-c", `"$@" <&- >&- 2>&-`, "sh")
	sh.Args = append(sh.Args, cmd.Args...)
	if out, err := sh.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSocket talks to a guest over a Unix socket: one client, and another one
// after it.
func TestSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "dfemu") // the names of sockets must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "com1")
	cmd := command(t, tiny.Echo(), "--serial", "socket:"+name)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ask := func(word string) {
		t.Helper()
		var conn net.Conn
		for end := time.Now().Add(giveUp); ; time.Sleep(time.Millisecond) {
			if conn, err = net.Dial("unix", name); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
		defer conn.Close()
		fmt.Fprint(conn, word)
		var got strings.Builder
		buf := make([]byte, 64)
		for !strings.HasSuffix(got.String(), word) {
			n, err := conn.Read(buf)
			got.Write(buf[:n])
			if err != nil {
				t.Fatalf("received %q, want %q: %v", got.String(), word, err)
			}
		}
	}
	ask("first")
	ask("second q")
	if got := status(t, cmd); got != 0 {
		t.Errorf("ended with status %d, want 0:\n%s", got, stderr.Bytes())
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left behind: %v", err)
	}
}

// TestPTY talks to a guest over a pseudo-terminal that the command makes.
func TestPTY(t *testing.T) {
	cmd := command(t, tiny.Echo(), "--serial", "pty")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var name string
	if _, err := fmt.Fscanf(stderr, "dfemu: serial port at %s", &name); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := newScreen(t, f)
	s.expect("ready\r\n")
	s.typeIn("abc")
	s.expect("abc")
	s.typeIn("q")
	if got := status(t, cmd); got != 0 {
		t.Errorf("ended with status %d, want 0", got)
	}
}
