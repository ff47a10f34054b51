package tests

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"dfemu/images"
	"dfemu/machine"
)

// answer writes a reply into a guest's input once the guest has asked.
type answer struct {
	output
	question, reply string
	in              io.Writer
}

func (a *answer) Write(p []byte) (int, error) {
	n, err := a.output.Write(p)
	if a.question != "" && strings.Contains(a.String(), a.question) {
		a.question = ""
		go fmt.Fprint(a.in, a.reply)
	}
	return n, err
}

// TestVirtioConsole talks to a real kernel over a virtio console, which is its
// only one.
func TestVirtioConsole(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a whole guest")
	}
	kernel, err := images.LinuxKernel(context.Background())
	if err != nil {
		t.Skipf("the kernel's module cannot be had: %v", err)
	}
	const script = `
echo "who is there?"
read name
echo "hello $name on $(cat /sys/class/tty/console/active 2>/dev/null || echo hvc0)"
poweroff -f
`
	initrd := initramfs(t, script, nil)
	for _, cpus := range []int{1, 2} {
		t.Run(fmt.Sprintf("%dcpu", cpus), func(t *testing.T) {
			r, w := io.Pipe()
			defer r.Close()
			out := &answer{question: "who is there?", reply: "somebody\n", in: w}
			o := boot(t, machine.Config{
				CPUs: cpus, Memory: 256 << 20, Kernel: kernel, Initrd: initrd, Unpack: true,
				Cmdline:  "console=hvc0 quiet",
				Consoles: []machine.Serial{{In: r, Out: out}},
			})
			if o.Cause != machine.PoweredOff {
				t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
			}
			out.expect(t, "hello somebody on hvc0")
		})
	}
}
