package tests

import (
	"testing"

	"dfemu/devices/network"
	"dfemu/machine"
)

// linksScript has what docs/faults.md says of cables and of devices that are taken away. A is the disk at the second SATA port.
const linksScript = `
ata() { for d in /sys/block/sd*; do case $(readlink $d) in */ata$1/*) echo ${d##*/};; esac; done; }
waitfor eval 'A=$(ata 2); test -b "/dev/$A" -a -b /dev/nvme0n1'
for i in 0 1; do ip link set eth$i up; waitfor has 1 cat /sys/class/net/eth$i/carrier; done
for c in virtio-net0 e1000e0; do
	ask link $c off
done
check no-carrier waitfor eval '! grep -q 1 /sys/class/net/eth*/carrier'
check e1000e-says logged "NIC Link is Down"
for c in virtio-net0 e1000e0; do
	ask link $c on
done
check carrier waitfor eval '! grep -q 0 /sys/class/net/eth*/carrier'
ask link ahci0.1 off
check sata-down logged "SATA link down"
check disk-gone waitfor test ! -b /dev/$A
ask link ahci0.1 on
check disk-back waitfor eval 'A=$(ata 2); test -b "/dev/$A"'
check disk-works verify /dev/$A 512k
ask pull ahci0.1
check pulled waitfor test ! -b /dev/$A
check other-works verify /dev/$(ata 1) 512k
ask plug
waitfor test -b /dev/nvme1n1
dd if=/dev/nvme1n1 of=/dev/null bs=4k iflag=direct 2>/dev/null &
ask pull nvme1
check nvme-says logged "Card not present"
check nvme-gone waitfor test ! -b /dev/nvme1n1
check no-oops fails has "BUG:|Oops" dmesg
`

// TestDevicesLinks pulls cables and drives.
func TestDevicesLinks(t *testing.T) {
	t.Parallel() // it waits most of the time
	g := guest{
		script: linksScript, programs: []string{"ip", "fio"},
		Config: machine.Config{
			NICs:  []network.Options{nic(t, "user"), nic(t, "hub,model=e1000e")},
			Disks: []machine.Disk{disk(t, "mem:4M,if=ahci"), disk(t, "mem:4M,if=ahci"), disk(t, "mem:4M,if=nvme")},
		},
	}
	g.runAsking(t, func(c *machine.Control, words []string) error {
		switch words[0] {
		case "link":
			return c.SetLink(words[1], words[2] == "on")
		case "plug":
			_, err := c.PlugDisk(disk(t, "mem:64M,if=nvme,iops=100"))
			return err
		}
		return c.Unplug(words[1], true)
	})
}
