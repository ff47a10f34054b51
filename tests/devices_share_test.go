package tests

import (
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dfemu/machine"
)

const shareScript = `
mkdir -p /work /safe
check mount mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 work /work
check mount-ro mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,ro safe /safe
check list has big ls -l /work
check sum same "$(sum /work/big)" $SUM
check sum-cached same "$(sum /safe/big)" $SUM
check size same "$(stat -c %s /work/big)" 3000001
check entries same "$(ls /work/many | wc -l)" 500
check statfs df /work
check create eval "echo from the guest >/work/new"
check append eval "echo more >>/work/new"
check read-back has "more" cat /work/new
check copy cp /work/big /work/copy
check copy-sum same "$(sum /work/copy)" $SUM
check write-random verify /work/random 2M
check mkdir mkdir -p /work/a/b/c
check rename mv /work/new /work/a/b/c/newer
check rename-folder mv /work/a/b /work/moved
check renamed has "from the guest" cat /work/moved/c/newer
check hard-link ln /work/moved/c/newer /work/again
check linked same "$(stat -c %h /work/again)" 2
check symlink ln -s moved/c/newer /work/link
check follow has "from the guest" cat /work/link
check chmod chmod 640 /work/again
check mode same "$(stat -c %a /work/link -L)" 640
check touch touch -d "2020-02-02 02:02:02" /work/again
check time has "2020-02-02 02:02:02" stat /work/again
check truncate truncate -s 5 /work/again
check truncated same "$(cat /work/again)" "from "
check fifo mkfifo /work/fifo
check fifo-is-one test -p /work/fifo
check device-refused fails mknod /work/null c 1 3
check delete rm /work/copy /work/fifo
check deleted fails test -e /work/copy
check delete-tree rm -r /work/many
check open-unlinked eval "exec 5>/work/ghost; rm /work/ghost; echo x >&5; exec 5>&-"
# What leads out of the folder on the host leads into the guest's own tree here.
echo own >/secret
check symlink-absolute same "$(cat /work/abs)" own
check symlink-relative same "$(cat /work/up)" own
check symlink-folder fails ls /work/rootlink/../host-only
check dotdot same "$(ls -d /work/../secret)" /work/../secret
for f in "touch /safe/x" "rm -f /safe/big" "mkdir /safe/d" "mv -f /safe/big /safe/y" "chmod 777 /safe/big" "ln -s a /safe/l"; do
	$f 2>/dev/null && echo "FAIL ro: $f"
done
umount /safe
check remount-rw mount -t 9p -o trans=virtio,version=9p2000.L safe /safe
check ro-write fails dd if=/dev/zero of=/safe/big bs=1 count=1 conv=notrunc
check ro-create fails touch /safe/x
check ro-remove fails rm -f /safe/big
check ro-rename fails mv -f /safe/big /safe/y
check ro-mkdir fails mkdir /safe/d
check umount umount /work /safe
check no-oops fails has "BUG:|Oops" dmesg
`

// TestDevicesShare has Linux use folders of the host.
func TestDevicesShare(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "work")
	data := make([]byte, 3000001)
	for i := range data {
		data[i] = byte(i * i >> 7)
	}
	write := func(name, s string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "big"), string(data))
	safe := filepath.Join(base, "safe")
	write(filepath.Join(safe, "big"), string(data))
	for i := range 500 {
		write(filepath.Join(dir, "many", fmt.Sprintf("a file with a long name, number %d", i)), "")
	}
	write(filepath.Join(base, "secret"), "the host's")
	write(filepath.Join(base, "host-only"), "the host's")
	for name, to := range map[string]string{"abs": "/secret", "up": "../secret", "rootlink": base + "/work"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	g := guest{
		script: assign("SUM", fmt.Sprintf("%x", md5.Sum(data))) + shareScript, programs: []string{"fio"},
		drivers: []string{"9p", "9pnet", "9pnet_virtio", "netfs", "fscache"},
		Config: machine.Config{Memory: 512 << 20, Shares: []machine.Share{
			{Dir: dir, Tag: "work"}, {Dir: safe, Tag: "safe", ReadOnly: true},
		}},
	}
	g.run(t)
	if p, err := os.ReadFile(filepath.Join(dir, "again")); string(p) != "from " {
		t.Errorf("again: %q %v", p, err)
	}
	if s, err := os.Readlink(filepath.Join(dir, "link")); s != "moved/c/newer" {
		t.Errorf("link: %q %v", s, err)
	}
	if p, err := os.ReadFile(filepath.Join(base, "secret")); string(p) != "the host's" {
		t.Errorf("secret: %q %v", p, err)
	}
	if l, err := os.ReadDir(safe); err != nil || len(l) != 1 || l[0].Name() != "big" {
		t.Errorf("the read-only folder has %v %v", l, err)
	}
	if fileSum(t, filepath.Join(safe, "big")) != fmt.Sprintf("%x", md5.Sum(data)) {
		t.Error("a file of the read-only folder has changed")
	}
	l, err := os.ReadDir(base)
	if err != nil || len(l) != 4 {
		t.Errorf("beside the folder: %v %v", l, err)
	}
}

func TestParseShare(t *testing.T) {
	for s, want := range map[string]machine.Share{
		"/srv/data":        {Dir: "/srv/data", Tag: "data"},
		"/srv/a,,b,tag=x":  {Dir: "/srv/a,b", Tag: "x"},
		"/srv,tag=x,ro":    {Dir: "/srv", Tag: "x", ReadOnly: true},
		"/srv,ro=off":      {Dir: "/srv", Tag: "srv"},
		"":                 {},
		"/srv,tag":         {},
		"/srv,rw":          {},
		"/srv,ro=no":       {},
		"/srv,tag=a,tag=b": {},
	} {
		got, err := machine.ParseShare(s)
		if got != want || (err == nil) != (want.Dir != "") {
			t.Errorf("%q: %+v, %v", s, got, err)
		}
	}
	if _, err := machine.ParseShare(strings.Repeat(",", 3)); err == nil {
		t.Error("commas alone are accepted")
	}
}
