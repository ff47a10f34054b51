package tests

import (
	"bufio"
	"bytes"
	"crypto/md5"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dfemu/images"
	"dfemu/machine"
)

const vsockScript = `
check there waitfor test -e /dev/vsock
check echo same "$(echo hello | vsockcat connect 2 5000)" "HELLO"
check echo-again same "$(echo again | vsockcat connect 2 5000)" "AGAIN"
check refused has "reset|refused" vsockcat connect 2 5999
check to-guest same "$(vsockcat connect 2 5001 </dev/null | sum)" $SUM
check to-host same "$(dd if=/data bs=64k 2>/dev/null | vsockcat connect 2 5002)" $SUM
i=0; while [ $i -lt 20 ]; do echo $i | vsockcat connect 2 5000 >/tmp/e$i & i=$((i+1)); done; wait
check many same "$(cat /tmp/e? /tmp/e1? | sort -n | wc -l)" 20
vsockcat listen 6000 >/tmp/heard </data 2>/tmp/listens &
check listens waitfor test -s /tmp/listens
ask connect
wait
check heard same "$(cat /tmp/heard)" "from the host"
check no-oops fails has "BUG:|Oops" dmesg
`

// serveUnix handles the connections to a Unix socket.
func serveUnix(t *testing.T, path string, handle func(net.Conn)) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				handle(c)
				_ = c.Close()
			}()
		}
	}()
}

// guestProgram builds a program of this module for the guest. It is linked to the same addresses as the static busybox: two address
// spaces with different code in one place.
func guestProgram(t *testing.T, dir string) images.File {
	t.Helper()
	out := filepath.Join(t.TempDir(), filepath.Base(dir))
	c := exec.Command("go", "build", "-o", out, "./"+dir)
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", dir, err, text)
	}
	return images.File{Name: "bin/" + filepath.Base(dir), From: out}
}

// TestDevicesVsock has programs of a Linux guest and of the host talk to each other.
func TestDevicesVsock(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a whole guest")
	}
	path := filepath.Join(t.TempDir(), "v")
	data := bytes.Repeat([]byte("0123456789abcde\n"), 3<<16)
	sum := fmt.Sprintf("%x", md5.Sum(data))
	serveUnix(t, path+"_5000", func(c net.Conn) {
		p, err := io.ReadAll(c)
		if err != nil {
			t.Error(err)
		}
		_, _ = c.Write(bytes.ToUpper(p))
	})
	serveUnix(t, path+"_5001", func(c net.Conn) { _, _ = c.Write(data) })
	serveUnix(t, path+"_5002", func(c net.Conn) {
		h := md5.New()
		if _, err := io.Copy(h, c); err != nil {
			t.Error(err)
		}
		fmt.Fprintf(c, "%x\n", h.Sum(nil))
	})
	g := guest{
		script: assign("SUM", sum) + vsockScript, drivers: []string{"vsock", "vmw_vsock_virtio_transport_common", "vmw_vsock_virtio_transport"},
		files:  []images.File{guestProgram(t, "vsockcat"), {Name: "data", Data: data}},
		Config: machine.Config{Memory: 512 << 20, Vsock: &machine.Vsock{CID: 42, Path: path}},
	}
	g.runAsking(t, func(_ *machine.Control, words []string) error {
		got, err := callGuest(path, 6000, "from the host\n")
		if err == nil && fmt.Sprintf("%x", md5.Sum([]byte(got))) != sum {
			err = fmt.Errorf("%d bytes from the guest are not what it sent", len(got))
		}
		return err
	})
}

// callGuest connects to a port of the guest, sends text and returns what comes back.
func callGuest(path string, port int, text string) (string, error) {
	c, err := net.Dial("unix", path)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := fmt.Fprintf(c, "CONNECT %d\n", port); err != nil {
		return "", err
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil || len(line) < 3 || line[:3] != "OK " {
		return "", fmt.Errorf("answer %q: %w", line, err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		return "", err
	}
	p, err := io.ReadAll(r)
	return string(p), err
}

func TestParseVsock(t *testing.T) {
	for s, want := range map[string]machine.Vsock{
		"cid=3,path=/tmp/v":     {CID: 3, Path: "/tmp/v"},
		"path=a,,b,cid=0x10":    {CID: 16, Path: "a,b"},
		"":                      {},
		"cid=2,path=x":          {},
		"cid=4294967295,path=x": {},
		"cid=5":                 {},
		"path=x":                {},
		"cid=5,path=x,y":        {},
	} {
		got, err := machine.ParseVsock(s)
		if got != want || (err == nil) != (want.CID != 0) {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
}
