package tests

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"dfemu/devices/watch"
	"dfemu/images"
	"dfemu/machine"
)

// plugScript writes files on each disk and says what it has made durable, until the power fails.
const plugScript = `
write() {
	i=1
	while dd if=/dev/urandom of=$1/f$i bs=3000 count=$((1+i%5)) conv=fsync 2>/dev/null; do
		echo "KEPT $(sum $1/f$i) $1/f$i"
		# What is not made durable may be there or not, but must not harm what is.
		dd if=/dev/urandom of=$1/loose bs=4096 count=16 conv=notrunc seek=$i 2>/dev/null; mv $1/loose $1/loose2 2>/dev/null
		i=$((i+1))
	done
	echo "FAIL to write on $1"
}
for d in DISKS; do
	waitfor test -b /dev/$d; mkdir /mnt/$d
	mount -t ext4 /dev/$d /mnt/$d || echo "FAIL mount $d"
	write /mnt/$d &
done
wait
`

// plugAfterScript looks at the disks after that.
const plugAfterScript = `
for d in DISKS; do
	waitfor test -b /dev/$d; mkdir /mnt/$d
	mount -t ext4 /dev/$d /mnt/$d || echo "FAIL mount $d"
	sync
done
check recovered test "$(dmesg | grep -c 'EXT4-fs (.*): recovery complete')" -eq 3
check all-there md5sum -c /kept
umount /mnt/*
`

// TestDevicesPowerLoss pulls the plug while Linux writes on three disks with volatile write caches, at a flush or a write of one of them. Linux
// recovers its file systems, and finds in them all that it was told is durable.
func TestDevicesPowerLoss(t *testing.T) {
	mke2fs, e2fsck := need(t, "/usr/sbin/mke2fs", installRemedy), need(t, "/usr/sbin/e2fsck", installRemedy)
	for seed, at := range []struct{ name, rule string }{
		{"flush", "nvme0,op=flush,nth=40,power-loss"}, {"write", "ahci0,op=write fpdma*,nth=150,power-loss"},
	} {
		t.Run(at.name, func(t *testing.T) {
			dir := t.TempDir()
			var files []string
			var disks []machine.Disk
			for _, kind := range []string{"ahci", "nvme", "virtio"} {
				f := filepath.Join(dir, kind)
				if err := os.WriteFile(f, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if out, err := exec.Command(mke2fs, "-q", "-t", "ext4", f, "16M").CombinedOutput(); err != nil {
					t.Fatalf("mke2fs: %v\n%s", err, out)
				}
				files = append(files, f)
				disks = append(disks, disk(t, fmt.Sprintf("%s,if=%s,cache=volatile,seed=%d", f, kind, seed)))
			}
			names := strings.NewReplacer("DISKS", "sda nvme0n1 vda")
			drivers := []string{"ext4", "jbd2", "mbcache"}
			g := guest{script: names.Replace(plugScript), drivers: drivers, Config: machine.Config{CPUs: 2, Disks: disks}}
			c, out := g.config(t)
			r, err := watch.ParseRule(at.rule)
			if err != nil {
				t.Fatal(err)
			}
			c.Watch = &machine.Watch{Faults: &watch.Faults{}}
			c.Watch.Faults.Add(r)
			if o := boot(t, c); o.Cause != machine.Stopped {
				t.Fatalf("ended with %v %s, want the loss of power\n%s", o.Cause, o.Detail, out)
			}
			var kept strings.Builder
			per := map[string]int{}
			for _, m := range regexp.MustCompile(`(?m)^KEPT (\w{32}) (/mnt/(\w+)/f\d+)\r?\n`).FindAllStringSubmatch(out.String(), -1) {
				fmt.Fprintf(&kept, "%s  %s\n", m[1], m[2])
				per[m[3]]++
			}
			if len(per) != 3 || strings.Contains(out.String(), "FAIL") {
				t.Fatalf("files made durable before the loss: %v\n%s", per, out)
			}
			t.Logf("files made durable before the loss: %v", per)

			again := guest{script: names.Replace(plugAfterScript), drivers: drivers, Config: machine.Config{Disks: disks}}
			list := filepath.Join(dir, "kept")
			if err := os.WriteFile(list, []byte(kept.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			again.files = []images.File{{Name: "kept", From: list}}
			again.run(t)
			for _, f := range files {
				if out, err := exec.Command(e2fsck, "-f", "-n", f).CombinedOutput(); err != nil {
					t.Errorf("e2fsck %s: %v\n%s", f, err, out)
				}
			}
		})
	}
}
