package tests

import (
	"testing"

	"dfemu/machine"
)

// optionsScript finds disks by their world wide names.
const optionsScript = `
byname() { for f in /sys/block/*/device/wwid /sys/block/*/wwid; do [ "$(cat $f 2>/dev/null)" = "$1" ] && echo $f | cut -d/ -f4; done; }
waitfor eval 'A=$(byname naa.5000c50012345678); test -b "/dev/$A"'
waitfor eval 'test $(ls -d /sys/block/sd? | wc -l) = 4'
waitfor test -b /dev/nvme3n1
check wwn has "5000c50012345678" hdparm -I /dev/$A
check firmware has "Firmware Revision: +FW7" hdparm -I /dev/$A
check rotates has "Nominal Media Rotation Rate: 7200" hdparm -I /dev/$A
check trim-off fails has "TRIM supported" hdparm -I /dev/$A
check unlike same "$(cat /sys/block/sd?/device/wwid | sort -u | wc -l)" 4
check multiplier logged "Port Multiplier"
check behind same "$(for d in /sys/block/sd?; do readlink $d; done | grep -c /ata2/)" 3
check trim-zero has "Deterministic read ZEROs after TRIM" eval 'for d in /dev/sd?; do hdparm -I $d; done'
check verify-direct verify /dev/$A 512k
for d in /dev/sd?; do verify $d 512k >/dev/null || echo "FAIL verify $d"; done
check nvme-serials same "$(cat /sys/class/nvme/nvme*/serial | sort -u | wc -l)" 4
N=$(byname eui.0011223344556677)
check eui test -b /dev/$N
check nvme-firmware same "$(cat /sys/block/$N/device/firmware_rev | tr -d ' ')" N42
check nvme-subsystem same "$(cat /sys/block/$N/device/subsysnqn)" nqn.2020-01.org.example:x
check nvme-transfer same "$(cat /sys/block/$N/queue/max_hw_sectors_kb)" 64
check uuid eval 'grep -q 12345678-9abc-def0-1234-56789abcdef0 /sys/block/nvme*/uuid'
Z=$(grep -l host-managed /sys/block/nvme*/queue/zoned | cut -d/ -f4)
check zones same "$(cat /sys/block/$Z/queue/chunk_sectors) $(cat /sys/block/$Z/queue/max_open_zones) $(cat /sys/block/$Z/queue/max_active_zones)" "2048 3 5"
check no-errors fails has "I/O error|frozen|Duplicate" dmesg
`

// TestDevicesOptions has Linux look at what the command line says of drives and their adapters.
func TestDevicesOptions(t *testing.T) {
	g := guest{script: optionsScript, programs: []string{"hdparm", "fio"}, Config: machine.Config{Memory: 512 << 20}}
	for _, s := range []string{
		"ahci,ports=2,multiplier=3,staggered,bios-owned,msi=0",
		"ahci,file=mem:4M,wwn=50:00:c5:00:12:34:56:78,firmware=FW7,rpm=7200,trim=off",
		"ahci,file=mem:4M,trim=zero", "ahci,file=mem:4M", "ahci,file=mem:4M",
		"nvme,file=mem:4M", "nvme,file=mem:4M,uuid=12345678-9abc-def0-1234-56789abcdef0,nguid=0x112233445566778899aabbccddeeff00",
		"nvme,file=mem:4M,eui64=0011223344556677,firmware=N42,nqn=nqn.2020-01.org.example:x,mdts=64K",
		"nvme,file=mem:16M,zoned,zone-size=1M,zone-capacity=768K,max-open=3,max-active=5",
	} {
		if err := g.AddDevice(s); err != nil {
			t.Fatal(err)
		}
	}
	g.run(t)
}
