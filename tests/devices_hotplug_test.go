package tests

import (
	"fmt"
	"testing"
	"time"

	"dfemu/machine"
)

// hotScript has devices come and go while they are used. Linux takes a second to finish with a slot: a device that
// comes earlier it takes for one whose attention button is pressed, and asks it to leave.
const hotScript = `
busy() { rm -f /tmp/over; (fio --name=b --filename=$1 --rw=randrw --bs=4k --size=1M --time_based --runtime=90 --direct=1 --ioengine=libaio --iodepth=8 --minimal >/tmp/fio 2>&1; echo over >/tmp/over) & sleep 1; }
waitfor test -b /dev/sda

ask plug ahci
check ahci-came waitfor test -b /dev/sdb
check ahci-verify verify /dev/sdb 1M
busy /dev/sdb
ask pull ahci
check ahci-io-ended waitfor test -e /tmp/over
check ahci-gone waitfor test ! -b /dev/sdb
check ahci-other-works verify /dev/sda 512k
ask plug ahci
check ahci-back waitfor test -b /dev/sdb
check ahci-verify-again verify /dev/sdb 512k

ask plug nvme
check nvme-came waitfor test -b /dev/nvme0n1
check nvme-verify verify /dev/nvme0n1 1M
busy /dev/nvme0n1
ask unplug nvme
check nvme-io-ended waitfor test -e /tmp/over
check nvme-gone waitfor test ! -b /dev/nvme0n1
ask gone nvme
sleep 3
ask plug nvme
check nvme-back waitfor test -b /dev/nvme0n1
busy /dev/nvme0n1
ask pull nvme
check nvme-pulled-io-ended waitfor test -e /tmp/over
check nvme-pulled-gone waitfor test ! -b /dev/nvme0n1
sleep 3

ask plug vblk
check vblk-came waitfor test -b /dev/vda
check vblk-verify verify /dev/vda 1M
ask unplug vblk
check vblk-gone waitfor test ! -b /dev/vda
ask gone vblk
sleep 3

ask plug e1000e
check e1000e-came waitfor test -e /sys/class/net/eth0
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
check e1000e-ping waitfor ping -c 1 -W 1 10.0.2.2
ping -i 0.1 10.0.2.2 >/dev/null 2>&1 &
ask unplug e1000e
check e1000e-gone waitfor test ! -e /sys/class/net/eth0
ask gone e1000e
sleep 3
kill %1 2>/dev/null; killall ping 2>/dev/null
ask plug virtio
check virtio-came waitfor test -e /sys/class/net/eth0
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
check virtio-ping waitfor ping -c 1 -W 1 10.0.2.2
ping -i 0.1 10.0.2.2 >/dev/null 2>&1 &
ask unplug virtio
check virtio-gone waitfor test ! -e /sys/class/net/eth0
ask gone virtio
kill %1 2>/dev/null; killall ping 2>/dev/null
check no-oops fails has "BUG:|Oops|blocked for more" dmesg
`

// TestDevicesHotPlug adds and removes drives, controllers and NICs that the guest uses.
func TestDevicesHotPlug(t *testing.T) {
	g := guest{
		script: hotScript, programs: []string{"fio", "ip"},
		Config: machine.Config{Disks: []machine.Disk{disk(t, "mem:4M,if=ahci")}},
	}
	names := map[string]string{}
	g.runAsking(t, func(c *machine.Control, words []string) error {
		what, kind := words[0], words[1]
		var err error
		switch {
		case what == "plug" && kind == "vblk":
			names[kind], err = c.PlugDisk(disk(t, "mem:4M,if=virtio,serial=HOT"))
		case what == "plug" && (kind == "ahci" || kind == "nvme"):
			names[kind], err = c.PlugDisk(disk(t, "mem:4M,if="+kind+",serial=HOT"))
		case what == "plug":
			names[kind], err = c.PlugNIC(nic(t, "user,model="+kind))
		case what == "gone":
			// The guest has switched the slot off: the device leaves the machine soon after.
			for i := 0; !gone(c, names[kind]); i++ {
				if i > 100 {
					return fmt.Errorf("%s is still in the machine", names[kind])
				}
				time.Sleep(50 * time.Millisecond)
			}
		default:
			err = c.Unplug(names[kind], what == "pull")
		}
		return err
	})
}

// slowScript keeps requests waiting at slow disks.
const slowScript = `
waitfor test -b /dev/vda; waitfor test -b /dev/sda; waitfor test -b /dev/nvme0n1
for d in vda sda nvme0n1; do
	(i=0; while [ $i -lt 16 ]; do dd if=/dev/$d of=/dev/null bs=4096 skip=$i count=1 iflag=direct 2>/dev/null & i=$((i+1)); done; wait) &
done
sleep 1
ask pause
check vda-works dd if=/dev/vda of=/dev/null bs=512 count=1 iflag=direct
check sda-works dd if=/dev/sda of=/dev/null bs=512 count=1 iflag=direct
check nvme-works dd if=/dev/nvme0n1 of=/dev/null bs=512 count=1 iflag=direct
ask pause
`

// TestDevicesPauseSlowDisks pauses a machine whose disks have requests that would take many seconds, also while the guest shuts
// down with them.
func TestDevicesPauseSlowDisks(t *testing.T) {
	g := guest{
		script: slowScript,
		Config: machine.Config{Disks: []machine.Disk{
			disk(t, "mem:4M,if=virtio,iops=5"), disk(t, "mem:4M,if=ahci,iops=5"), disk(t, "mem:4M,if=nvme,iops=10,latency=200ms"),
		}},
	}
	g.runAsking(t, func(c *machine.Control, words []string) error {
		begin := time.Now()
		c.Pause()
		c.Pause() // as somebody else might
		took := time.Since(begin)
		c.Resume()
		c.Resume()
		if took > 2*time.Second {
			return fmt.Errorf("it took %v", took)
		}
		return nil
	})
}

func gone(c *machine.Control, name string) bool {
	for _, d := range c.Devices() {
		if d.Name() == name {
			return false
		}
	}
	return true
}
