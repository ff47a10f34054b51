package tests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"dfemu/machine"
)

// cable is the other end of a serial port: a Unix socket at which one client is expected.
type cable struct {
	l     net.Listener
	conn  net.Conn
	ready chan struct{}
}

func newCable(t *testing.T) *cable {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{l: l, ready: make(chan struct{})}
	go func() {
		defer close(c.ready)
		if conn, err := l.Accept(); err == nil {
			c.conn = conn
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-c.ready
		if c.conn != nil {
			c.conn.Close()
		}
	})
	return c
}

// Read implements io.Reader.
func (c *cable) Read(b []byte) (int, error) {
	<-c.ready
	if c.conn == nil {
		return 0, io.EOF
	}
	return c.conn.Read(b)
}

// Write implements io.Writer. Without a client all is lost.
func (c *cable) Write(b []byte) (int, error) {
	select {
	case <-c.ready:
		if c.conn != nil {
			_, _ = c.conn.Write(b) // a client may have gone
		}
	default:
	}
	return len(b), nil
}

// gdbSession runs gdb with commands against a kernel, and returns what it prints.
func gdbSession(t *testing.T, kernel, socket string, commands ...string) string {
	t.Helper()
	args := []string{"-nx", "-batch", "-ex", "set pagination off", "-ex", "set confirm off", "-ex", "set width 0", "-ex", "set remotetimeout 30", "-ex", "target remote " + socket}
	for _, c := range commands {
		args = append(args, "-ex", c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), guestLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, "gdb", append(args, kernel)...).CombinedOutput()
	if err != nil {
		t.Errorf("gdb: %v", err)
	}
	return string(out)
}

// gdbPeers start the kernel on a machine whose second serial port is at a socket. The returned function waits for the end and returns the
// console.
var gdbPeers = map[string]func(t *testing.T, kernel, cmdline string) (socket string, wait func() string){
	"dfemu": func(t *testing.T, kernel, cmdline string) (string, func() string) {
		c, out := newCable(t), newConsole()
		wait := start(t, machine.Config{Accel: "jit", CPUs: 2, Memory: 256 << 20, Kernel: kernel, Cmdline: cmdline,
			Serial: [4]machine.Serial{{Out: out}, {In: c, Out: c}}}, out)
		return c.l.Addr().String(), func() string { wait(); return out.String() }
	},
	"qemu": func(t *testing.T, kernel, cmdline string) (string, func() string) {
		path, err := exec.LookPath("qemu-system-x86_64")
		if err != nil {
			t.Skip("QEMU is not installed")
		}
		socket, out := filepath.Join(t.TempDir(), "s"), newConsole()
		ctx, cancel := context.WithTimeout(context.Background(), guestLimit)
		c := exec.CommandContext(ctx, path, "-M", "q35", "-accel", "tcg", "-m", "256", "-smp", "2", "-kernel", kernel, "-append", cmdline,
			"-display", "none", "-serial", "stdio", "-serial", "unix:"+socket+",server=on,wait=off", "-no-reboot")
		c.Stdout, c.Stderr = out, out
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for range 200 {
			if exists(socket) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		return socket, func() string {
			defer cancel()
			if err := c.Wait(); err != nil {
				t.Errorf("QEMU: %v", err)
			}
			return out.String()
		}
	},
}

// TestKernelGDB has gdb at the second serial port: threads, a breakpoint on a function, names in the trace, memory, registers, steps, and the
// end of the session, after which the kernel goes on.
func TestKernelGDB(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skipf("gdb is not installed: %s", installRemedy)
	}
	kernel := kernelImage(t)
	for name, boot := range gdbPeers {
		t.Run(name, func(t *testing.T) {
			socket, wait := boot(t, kernel, "dfly.gdb=wait dfly.run=cpus;bench+switch;mem;mem;uptime dfly.poweroff")
			out := gdbSession(t, kernel, socket,
				"info threads", "break main.cpus", "continue", "backtrace 3", "x/3i $pc", "print/x $pc", "stepi", "nexti", "info registers rip rsp mxcsr fs_base",
				"x/s main.toolchain.str", "print $sp == $rsp", "set var $rbx = $rbx", "delete",
				"break dfemu/kernel/kern/lwkt.(*CPU).Switch", "tbreak main.mem", "continue", "x/1xb $pc", "thread apply 1 bt 1",
				"delete", "detach")
			console := wait()
			for _, p := range []string{
				`\* \d+ +Thread \d+ \(go cpu\d pri \d+ run\)`,
				`hit Breakpoint 1, main\.cpus \(`,
				`#0  main\.cpus \(.*commands_dragonfly_amd64\.go:\d+`,
				`#1  .* in dfemu/kernel/shell\.\(\*Shell\)\.exec \(.*shell/shell\.go:\d+`,
				`=> 0x7f80[0-9a-f]+ <main\.cpus\+\d+>:`,
				`rip +0x7f80[0-9a-f]+ `, `rsp +0x7e00[0-9a-f]+ `, `mxcsr +0x1f[89ab][0-9a-f] `, `fs_base +0x[1-9a-f]`,
				`"go1\.`,
				`\$2 = true`,
				`hit Temporary breakpoint 3, main\.mem \(`,
				`<main\.mem\+\d+>:\s+0x([0-9abd-f][0-9a-f]|c[0-9abd-f])\n`, // not the breakpoint's instruction
				`\[Inferior 1 \(.*\) detached\]`,
			} {
				if !regexp.MustCompile(p).MatchString(out) {
					t.Errorf("gdb has not said %q", p)
				}
			}
			for _, p := range []string{"gdb: waiting until it says continue", "is where the kernel cannot be stopped", "cpu0: switches", "pages: ", "up "} {
				if !strings.Contains(console, p) {
					t.Errorf("the console lacks %q", p)
				}
			}
			if t.Failed() {
				t.Logf("gdb:\n%s\nconsole:\n%s", out, console)
			}
		})
	}
}

// TestKernelGDBHot sets breakpoints into which all CPUs run all the time, stops at them many times, and steps: no thread may get lost or see a
// trap that is not its own.
func TestKernelGDBHot(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skipf("gdb is not installed: %s", installRemedy)
	}
	c := newCable(t)
	g := startKernel(t, machine.Config{Cmdline: "dfly.gdb", Serial: [4]machine.Serial{1: {In: c, Out: c}}})
	commands := []string{"break runtime.mallocgcSmallNoscan", "break runtime.(*mcache).nextFree"}
	for i := range 15 {
		commands = append(commands, "continue")
		if i%3 == 0 {
			commands = append(commands, "stepi", "next")
		}
	}
	kernel := kernelImage(t)
	ended := make(chan string, 1)
	go func() { ended <- gdbSession(t, kernel, c.l.Addr().String(), append(commands, "delete", "detach")...) }()
	out := ""
	for out == "" {
		select {
		case out = <-ended:
		default:
			g.expect("stress 1", "operations, 0 failures") // there must be something to stop at all the time
		}
	}
	if n := strings.Count(out, "hit Breakpoint"); n < 15 || !strings.Contains(out, "detached") {
		t.Errorf("gdb has told of %d breakpoints, want 15 or more, and its end:\n%s", n, out)
	}
	g.expect("gc", "heap: ")
	g.powerOff()
}

// TestKernelGDBPanic has gdb look at a panic: before the runtime leaves its stack, which gdb cannot see behind, and at the end.
func TestKernelGDBPanic(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skipf("gdb is not installed: %s", installRemedy)
	}
	kernel := kernelImage(t)
	c, out := newCable(t), newConsole()
	m, err := machine.New(machine.Config{Accel: "jit", CPUs: 2, Memory: 256 << 20, Kernel: kernel, Cmdline: "dfly.gdb=wait,panic dfly.run=panic", NoReboot: true,
		Serial: [4]machine.Serial{{Out: out}, {In: c, Out: c}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), guestLimit)
	defer cancel()
	ended := make(chan machine.Outcome, 1)
	go func() {
		o, err := m.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		ended <- o
	}()
	said := gdbSession(t, kernel, c.l.Addr().String(), "break runtime.fatalpanic", "continue", "backtrace", "continue", "backtrace", "detach")
	if o := <-ended; o.Cause != machine.Panicked {
		t.Errorf("ended with %v %s, want a guest's panic", o.Cause, o.Detail)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	for _, p := range []string{`runtime\.gopanic`, `main\.commands\..*commands_dragonfly_amd64\.go:\d+`, "received signal SIGABRT", `runtime\.exit`, "detached"} {
		if !regexp.MustCompile(p).MatchString(said) {
			t.Errorf("gdb has not said %q:\n%s\nconsole:\n%s", p, said, out)
		}
	}
}

// gdbPacket is a packet of gdb's protocol.
func gdbPacket(p string) string {
	sum := byte(0)
	for i := range len(p) {
		sum += p[i]
	}
	return fmt.Sprintf("$%s#%02x", p, sum)
}

// TestKernelGDBStop stops the running kernel by connecting and by Ctrl-C, while its CPUs are idle and while all are busy, and steps.
func TestKernelGDBStop(t *testing.T) {
	c := newCable(t)
	conn, err := net.Dial("unix", c.l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	ask := func(text, want string) {
		t.Helper()
		if err := conn.SetDeadline(time.Now().Add(guestLimit)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
		got, err := r.ReadString('#')
		if err != nil {
			t.Fatalf("%q is answered by %q: %v", text, got, err)
		}
		if _, err := r.Discard(2); err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q is answered by %q, want %q", text, got, want)
		}
	}
	g := startKernel(t, machine.Config{Cmdline: "dfly.gdb", Serial: [4]machine.Serial{1: {In: c, Out: c}}})
	ask(gdbPacket("qSupported:swbreak+"), `\+\$PacketSize=`)
	ask(gdbPacket("?"), `\$T02thread:[0-9a-f]+;#`)
	ask(gdbPacket("QStartNoAckMode"), `\$OK#`)
	for i := range 6 {
		if _, err := io.WriteString(conn, gdbPacket("vCont;c")); err != nil {
			t.Fatal(err)
		}
		if i == 1 { // before that, all CPUs are idle
			if _, err := io.WriteString(g.in, "stress 5\r"); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond) // it runs
		ask("\x03", `^\$T02thread:[0-9a-f]+;#`)
		ask(gdbPacket("g"), `^\$[0-9a-fx]{552}[0-9a-fx]{552}#`)
		if i == 2 { // while all CPUs are busy: a thread that sleeps takes its step when it is woken
			for range 50 {
				ask(gdbPacket("vCont;s"), `^\$T05thread:[0-9a-f]+;#`)
			}
		}
	}
	ask(gdbPacket("D"), `^\$OK#`)
	const over = "operations, 0 failures"
	g.await(strings.Index(g.await(0, over), over), kernelPrompt)
	g.expect("uptime", `up \d`)
	g.powerOff()
}

// TestKernelGDBWatch has gdb use the processor's debug registers: for a variable that is written, one that is read, and an instruction.
func TestKernelGDBWatch(t *testing.T) {
	if _, err := exec.LookPath("gdb"); err != nil {
		t.Skipf("gdb is not installed: %s", installRemedy)
	}
	kernel := kernelImage(t)
	for name, boot := range gdbPeers {
		t.Run(name, func(t *testing.T) {
			socket, wait := boot(t, kernel, "dfly.gdb=wait dfly.run=uptime;gc;gc;cpus;gc;gc;mem dfly.poweroff")
			out := gdbSession(t, kernel, socket,
				"hbreak main.cpus", "watch 'runtime.work'.cycles.value", "continue", "backtrace 1", "continue", "delete 2",
				"continue", "delete 1", "awatch 'runtime.work'.cycles.value", "continue", "backtrace 1", "delete", "detach")
			console := wait()
			for _, p := range []string{
				`Hardware assisted breakpoint 1 at 0x7f80`, `Hardware watchpoint 2: 'runtime\.work'`,
				`Old value = 0\s+New value = 1\s`, `#0 .*runtime\.gcStart`, `Old value = 1\s+New value = 2\s`,
				`hit Breakpoint 1, main\.cpus`,
				`Hardware access \(read/write\) watchpoint 3: 'runtime\.work'`, `hit Hardware access \(read/write\) watchpoint 3`,
				`\[Inferior 1 \(.*\) detached\]`,
			} {
				if !regexp.MustCompile(p).MatchString(out) {
					t.Errorf("gdb has not said %q", p)
				}
			}
			for _, p := range []string{"up ", "cpu0: switches", "pages: "} {
				if !strings.Contains(console, p) {
					t.Errorf("the console lacks %q", p)
				}
			}
			if t.Failed() {
				t.Logf("gdb:\n%s\nconsole:\n%s", out, console)
			}
		})
	}
}
