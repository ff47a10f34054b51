package tests

import (
	"fmt"
	"testing"
	"time"

	"dfemu/machine"
)

// hotScript has devices come and go while they are used. Linux takes a second to finish with a slot: a device that
// comes earlier it takes for one whose attention button is pressed, and asks it to leave. The end of it is that it turns
// the slot's power indicator off.
const hotScript = `
# busy DISK has requests made without end; begun: they are under way; /tmp/over: there is an end all the same
busy() { rm -f /tmp/over; stat=/sys/block/${1#/dev/}/stat; before=$(requests); (fio --name=b --filename=$1 --rw=randrw --bs=4k --size=1M --time_based --runtime=90 --direct=1 --ioengine=libaio --iodepth=8 --minimal >/tmp/fio 2>&1; echo over >/tmp/over) & }
requests() { awk '{print $1+$5}' $stat; }
begun() { [ $(requests) -gt $((before+50)) ]; }
# settled: power (bit 10 of Slot Control) and its indicator (bits 9 to 8) are off in each slot without a device (bit 6 of Slot Status)
byte() { od -An -v -tu1 -j$2 -N1 $1/config | tr -d ' '; }
settled() {
	for d in /sys/bus/pci/devices/*; do
		[ $(cat $d/class) = 0x060400 ] || continue
		cap=$(byte $d 52)
		while [ $(byte $d $cap) -ne 16 ]; do cap=$(byte $d $((cap+1))); done
		[ $(($(byte $d $((cap+26))) & 64)) -ne 0 ] || [ $(($(byte $d $((cap+25))) & 7)) -eq 7 ] || return 1
	done
}
waitfor test -b /dev/sda

ask plug ahci
check ahci-came waitfor test -b /dev/sdb
check ahci-verify verify /dev/sdb 1M
busy /dev/sdb
check ahci-busy waitfor begun
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
check nvme-busy waitfor begun
ask unplug nvme
check nvme-io-ended waitfor test -e /tmp/over
check nvme-gone waitfor test ! -b /dev/nvme0n1
ask gone nvme
check nvme-settled waitfor settled
ask plug nvme
check nvme-back waitfor test -b /dev/nvme0n1
busy /dev/nvme0n1
check nvme-busy-again waitfor begun
ask pull nvme
check nvme-pulled-io-ended waitfor test -e /tmp/over
check nvme-pulled-gone waitfor test ! -b /dev/nvme0n1
check nvme-pulled-settled waitfor settled

ask plug vblk
check vblk-came waitfor test -b /dev/vda
check vblk-verify verify /dev/vda 1M
ask unplug vblk
check vblk-gone waitfor test ! -b /dev/vda
ask gone vblk
check vblk-settled waitfor settled

ask plug e1000e
check e1000e-came waitfor test -e /sys/class/net/eth0
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
check e1000e-ping waitfor ping -c 1 -W 1 10.0.2.2
ping -i 0.1 10.0.2.2 >/dev/null 2>&1 &
ask unplug e1000e
check e1000e-gone waitfor test ! -e /sys/class/net/eth0
ask gone e1000e
check e1000e-settled waitfor settled
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
	t.Parallel() // it waits most of the time
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

// slowScript keeps requests waiting at slow disks. The disks have been idle for long enough to be fast while Linux looks at
// them; then a request takes an hour.
const slowScript = `
waitfor test -b /dev/vda; waitfor test -b /dev/sda; waitfor test -b /dev/nvme0n1
# ask for more than the disks still do at once
slow() { i=0; while [ $i -lt 24 ]; do (dd if=/dev/$1 of=/dev/null bs=64k skip=$i count=1 iflag=direct 2>/dev/null && echo read >/tmp/$1.$i) & i=$((i+1)); done; }
waiting() { [ $(awk '{print $1}' /sys/block/$1/inflight) -ge $2 ]; }
works() { [ $(cat /tmp/$1.* | wc -l) -ge $2 ]; }
slow vda; slow sda; slow nvme0n1
check vda-waits waitfor waiting vda 8
check sda-waits waitfor waiting sda 8
check nvme-waits waitfor waiting nvme0n1 8
# Requests that come after a pause wait for the next one.
n=0; while [ $n -lt 100 ]; do
	ask pause
	works vda 24 && works sda 24 && works nvme0n1 24 && break
	sleep 0.1; n=$((n+1))
done
check vda-works works vda 24
check sda-works works sda 24
check nvme-works works nvme0n1 24
`

// TestDevicesPauseSlowDisks pauses a machine whose disks have requests that would take hours: they end then, and nobody
// waits for their time.
func TestDevicesPauseSlowDisks(t *testing.T) {
	const slow = ",bps=16,burst=4h"
	g := guest{
		script: slowScript,
		Config: machine.Config{Disks: []machine.Disk{
			disk(t, "mem:4M,if=virtio"+slow), disk(t, "mem:4M,if=ahci"+slow), disk(t, "mem:4M,if=nvme,latency=200ms"+slow),
		}},
	}
	g.runAsking(t, func(c *machine.Control, words []string) error {
		c.Pause()
		c.Pause() // as somebody else might
		c.Resume()
		c.Resume()
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
