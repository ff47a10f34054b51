package tests

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"dfemu/machine"
)

// speedScript prints a RATE line for each kind of load: requests or MiB in a second.
const speedScript = `
rate() {
	n=$(fio --name=s --filename=$2 --rw=$3 --bs=$4 --iodepth=$5 --direct=1 --ioengine=libaio --time_based --runtime=2 --minimal | cut -d';' -f$6)
	echo "RATE $1 $3 $4 depth $5: $n"
}
for d in virtio:/dev/vda ahci:/dev/sda nvme:/dev/nvme0n1; do
	dev=${d#*:}; waitfor test -b $dev
	rate ${d%%:*} $dev randread 4k 1 8; rate ${d%%:*} $dev randread 4k 32 8
	rate ${d%%:*} $dev randwrite 4k 1 49; rate ${d%%:*} $dev randwrite 4k 32 49
	rate ${d%%:*} $dev read 1M 4 7
done
`

var rateLine = regexp.MustCompile(`(?m)^RATE .*`)

// TestDevicesSpeed measures disks beside QEMU's, with DFEMU_SPEED=1.
func TestDevicesSpeed(t *testing.T) {
	if os.Getenv("DFEMU_SPEED") == "" {
		t.Skip("measures for a minute: set DFEMU_SPEED=1")
	}
	file := filepath.Join(t.TempDir(), "disk.img")
	data := make([]byte, 64<<20)
	for i := range data {
		data[i] = byte(i >> 9)
	}
	var disks []machine.Disk
	var drives []string
	for _, name := range []string{"virtio", "ahci", "nvme"} {
		one := file + name
		if err := os.WriteFile(one, data, 0o600); err != nil {
			t.Fatal(err)
		}
		disks = append(disks, disk(t, one+",if="+name))
		drives = append(drives, "-drive", fmt.Sprintf("file=%s,format=raw,if=none,id=%s", one, name))
	}
	g := guest{script: speedScript, programs: []string{"fio"}, Config: machine.Config{Disks: disks}}
	config, out := g.config(t)
	start(t, config, out)()
	t.Logf("dfemu\n%s", join(rateLine.FindAllString(out.String(), -1)))

	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Skip("QEMU is not installed")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, qemu, append([]string{
		"-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio", "-M", "q35", "-accel", "tcg", "-cpu", "max", "-m", "768M",
		"-kernel", config.Kernel, "-initrd", config.Initrd, "-append", config.Cmdline,
		"-device", "virtio-blk-pci,drive=virtio", "-device", "ide-hd,drive=ahci", "-device", "nvme,drive=nvme,serial=1",
	}, drives...)...)
	text, err := c.Output()
	if err != nil {
		t.Error(err)
	}
	t.Logf("QEMU\n%s", join(rateLine.FindAllString(string(text), -1)))
}

func join(lines []string) (s string) {
	for _, l := range lines {
		s += l + "\n"
	}
	return s
}
