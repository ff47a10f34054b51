package debugport

import (
	"bytes"
	"testing"
	"time"

	"dfemu/devices"
	"dfemu/devices/chipset/internal/drive"
	"dfemu/devices/devtest"
)

func TestPost(t *testing.T) {
	if err := postBank.Check(); err != nil {
		t.Error(err)
	}
	p := NewPost()
	drive.Out(t, p.Port(), 0, 1, 0xa5)
	if p.Code() != 0xa5 || drive.In(t, p.Port(), 0, 1) != 0xa5 {
		t.Errorf("code %#x", p.Code())
	}
	drive.RoundTrip(t, p)
	p.Reset()
	if p.Code() != 0 {
		t.Error("the code survives a reset")
	}
}

func TestConsole(t *testing.T) {
	var out bytes.Buffer
	c := Console(&out)
	if v := drive.In(t, c, 0, 1); v != 0xe9 {
		t.Errorf("reads %#x", v)
	}
	if _, err := c.Read(0, 2); err != devices.ErrSize {
		t.Errorf("wide read: %v", err)
	}
	drive.Out(t, c, 0, 1, 'a')
	drive.Out(t, c, 0, 4, 'b'|'c'<<8|'d'<<16|'e'<<24)
	if out.String() != "abcde" {
		t.Errorf("wrote %q", out.String())
	}
}

func TestExit(t *testing.T) {
	for _, c := range []struct {
		size int
		v    uint64
		want int
	}{{1, 0, 1}, {1, 0x10, 0x21}, {4, 1, 3}, {2, 0x1ff, 0x3ff}, {1, 0x1ff, 0x1ff}} {
		got := -1
		e := Exit(func(code int) { got = code })
		drive.Out(t, e, 0, c.size, c.v)
		if got != c.want {
			t.Errorf("%#x in %d bytes: code %#x, want %#x", c.v, c.size, got, c.want)
		}
	}
	if v := drive.In(t, Exit(nil), 0, 4); v != 0 {
		t.Errorf("reads %#x", v)
	}
}

func TestDelay(t *testing.T) {
	d := Delay()
	drive.Out(t, d, 0, 1, 0)
	if v := drive.In(t, d, 0, 1); v != 0xff {
		t.Errorf("reads %#x", v)
	}
}

func FuzzDebugPort(f *testing.F) {
	f.Add([]byte{1, 0, 0, 1, 0, 0, 0, 0x11, 0, 0, 'x', 0, 0, 0, 0x23, 0, 0, 1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		var out bytes.Buffer
		p := NewPost()
		exit := Exit(func(code int) {
			if code&1 == 0 {
				t.Errorf("exit code %#x could mean success", code)
			}
		})
		drive.Fuzz(t, program, devtest.NewClock(time.Time{}), p, nil, drive.Window{Region: p.Port(), Size: PostSize},
			drive.Window{Region: Console(&out), Size: ConsoleSize}, drive.Window{Region: exit, Size: ExitSize})
	})
}
