package tests

import (
	"strings"
	"testing"

	"dfemu/devices/network"
	"dfemu/machine"
)

// faultWords: fault NAME RULE COMMAND… runs a command under a rule; new prints what the kernel has logged meanwhile.
const faultWords = `
mark() { dmesg -c >/dev/null; }
under() { ask fault "$1"; shift; "$@" >/tmp/out 2>&1; status=$?; ask nofault; return $status; }
rd() { dd if=$1 of=${2:-/dev/null} bs=4096 skip=${3:-16} count=1 iflag=direct 2>/dev/null; }
wr() { dd if=/dev/urandom of=$1 bs=4096 seek=${2:-16} count=1 oflag=direct 2>/dev/null; }
took() { [ $(($(cut -d. -f1 /proc/uptime) - t0)) -ge $1 ]; }
now() { t0=$(cut -d. -f1 /proc/uptime); }
`

const ahciFaultScript = `
waitfor test -b /dev/sda; echo 3 >/sys/block/sda/device/timeout
rd /dev/sda /tmp/good

mark; under "ahci0,op=*read fpdma*,times=1,fail" rd /dev/sda
check fail-once-recovers same $? 0
check fail-logged has "error: \{ ABRT \}|exception Emask" dmesg
mark; under "ahci0,op=*read*,lba=128,fail=0x40" rd /dev/sda
check fail-always fails same $? 0
check fail-always-logged has "Unrecovered read error|I/O error, dev sda, sector 128" dmesg
mark; under "ahci0,op=*write*,lba=128,fail=0x10" wr /dev/sda
check fail-write fails same $? 0
check fail-write-logged has "WRITE|IDNF|I/O error" dmesg
# A delay is not an error for a driver that has more patience, also on a host that takes a moment longer.
echo 60 >/sys/block/sda/device/timeout
mark; now; under "ahci0,op=*read*,times=1,delay=2s" rd /dev/sda
check delay-survives same $? 0
check delay-took took 1
check delay-quiet fails has "exception" dmesg
echo 3 >/sys/block/sda/device/timeout
mark; under "ahci0,op=*read*,times=1,hang" rd /dev/sda
check hang-recovers same $? 0
check hang-logged has "frozen" dmesg
check hang-reset has "resetting link" dmesg
mark; under "ahci0,op=*read*,times=1,drop" rd /dev/sda
check drop-recovers same $? 0
check drop-logged has "frozen|timeout" dmesg
mark; under "ahci0,op=*read*,times=1,lose-irq" rd /dev/sda
check lose-irq-recovers same $? 0
mark; under "ahci0,op=*read*,times=1,duplicate" rd /dev/sda
check duplicate-survives same $? 0
mark; under "ahci0,op=*read*,times=1,extra-irq" rd /dev/sda
check extra-irq-survives same $? 0
mark; under "ahci0,op=*read*,lba=128,flip=3" rd /dev/sda /tmp/bad
check flip-silent same $? 0
check flip-seen fails cmp /tmp/good /tmp/bad
mark; under "ahci0,op=*read*,times=1,short=512" rd /dev/sda /tmp/bad
check short-answered test $? -le 1
mark; under "ahci0,op=flush*,fail" dd if=/dev/zero of=/dev/sda bs=4096 seek=300 count=1 conv=fsync
check flush-fails fails same $? 0
check flush-logged has "failed command: FLUSH CACHE" dmesg
mark; under "ahci0,op=*read*,times=1,flip-table=39" rd /dev/sda /tmp/bad
check flip-table-recovers same $? 0
check flip-table-logged has "host bus error|HBUS_DATA_ERR|HBUS_ERR" dmesg
check flip-table-right cmp /tmp/good /tmp/bad
mark; under "ahci0,op=*write*,times=1,hang,link-down=300ms" wr /dev/sda 200
check link-down-recovers same $? 0
check link-down-logged logged "SATA link up"
mark; under "ahci0,queue=1,op=*read*,times=1,remove" rd /dev/sdb
check remove-fails fails same $? 0
check remove-gone waitfor test ! -b /dev/sdb
check remove-logged has "SATA link down|rejecting I/O to offline device|I/O error, dev sdb" dmesg
check good-again rd /dev/sda /tmp/bad
check same-again cmp /tmp/good /tmp/bad
check still-verifies verify /dev/sda 512k
`

const nvmeFaultScript = `
waitfor test -b /dev/nvme0n1; echo 2000 >/sys/block/nvme0n1/queue/io_timeout
rd /dev/nvme0n1 /tmp/good

mark; under "nvme0,op=read,times=1,fail=0x281" rd /dev/nvme0n1
check nvme-fail-once-recovers same $? 0
mark; under "nvme0,op=read,lba=128,fail=0x281" rd /dev/nvme0n1
check nvme-fail fails same $? 0
check nvme-fail-logged has "critical medium error|Unrecovered Read Error" dmesg
mark; under "nvme0,op=write,lba=128,fail=0x280" wr /dev/nvme0n1
check nvme-fail-write fails same $? 0
check nvme-fail-write-logged has "Write Fault|critical medium error|I/O error" dmesg
echo 60000 >/sys/block/nvme0n1/queue/io_timeout
mark; now; under "nvme0,op=read,times=1,delay=1500ms" rd /dev/nvme0n1
check nvme-delay-survives same $? 0
check nvme-delay-took took 1
check nvme-delay-quiet fails has "timeout" dmesg
echo 2000 >/sys/block/nvme0n1/queue/io_timeout
mark; under "nvme0,op=read,times=1,hang" rd /dev/nvme0n1
check nvme-hang-recovers test $? -le 1
check nvme-hang-logged has "timeout, aborting" dmesg
mark; under "nvme0,op=read,times=1,drop" rd /dev/nvme0n1
check nvme-drop-logged has "timeout" dmesg
mark; under "nvme0,op=read,times=1,lose-irq" rd /dev/nvme0n1
check nvme-lose-irq-recovers same $? 0
check nvme-lose-irq-logged has "completion polled" dmesg
mark; under "nvme0,op=read,times=1,duplicate" rd /dev/nvme0n1
check nvme-duplicate-survives same $? 0
check nvme-duplicate-logged has "invalid id|duplicate|genctr mismatch" dmesg
mark; under "nvme0,op=read,times=1,extra-irq" rd /dev/nvme0n1
check nvme-extra-irq-survives same $? 0
mark; under "nvme0,op=read,hold=1,times=1" fio --name=h --filename=/dev/nvme0n1 --rw=randread --bs=4k --size=1M --direct=1 --ioengine=libaio --iodepth=8 --minimal
check nvme-hold-survives same $? 0
mark; under "nvme0,op=read,lba=128,flip=2" rd /dev/nvme0n1 /tmp/bad
check nvme-flip-silent same $? 0
check nvme-flip-seen fails cmp /tmp/good /tmp/bad
mark; under "nvme0,op=read,times=1,short=512" rd /dev/nvme0n1 /tmp/bad
check nvme-short-answered test $? -le 1
mark; under "nvme0,op=read,times=1,flip-table=39" rd /dev/nvme0n1 /tmp/bad
check nvme-flip-table-recovers same $? 0
check nvme-flip-table-right cmp /tmp/good /tmp/bad
mark; under "nvme0,op=read,lba=128,flip-table=39" rd /dev/nvme0n1
check nvme-flip-table-fails fails same $? 0
check nvme-flip-table-logged has "sct 0x0 . sc 0x4|Data Transfer Error" dmesg
mark; under "nvme0,admin=yes,op=identify,times=1,fail=0x6" nvme id-ctrl /dev/nvme0
check nvme-admin-fail fails same $? 0
mark; under "nvme1,op=read,times=1,remove" rd /dev/nvme1n1
check nvme-remove-fails fails same $? 0
check nvme-remove-gone waitfor test ! -e /dev/nvme1
check nvme-remove-logged has "Card not present" dmesg
check nvme-good-again rd /dev/nvme0n1 /tmp/bad
check nvme-same-again cmp /tmp/good /tmp/bad
check nvme-still-verifies verify /dev/nvme0n1 512k
`

// TestDevicesFaultsAHCI and the tests below provoke Linux's handling of errors, one fault after the other.
func TestDevicesFaultsAHCI(t *testing.T) {
	t.Parallel() // it waits most of the time
	file, _ := randomDisk(t, 4<<20)
	g := guest{
		script: faultWords + ahciFaultScript, programs: []string{"fio", "hdparm"},
		Config: machine.Config{Disks: []machine.Disk{disk(t, file+",if=ahci"), disk(t, "mem:4M,if=ahci")}},
	}
	g.runAsking(t, nil)
}

func TestDevicesFaultsNVMe(t *testing.T) {
	t.Parallel() // it waits most of the time
	file, _ := randomDisk(t, 4<<20)
	g := guest{
		script: faultWords + nvmeFaultScript, programs: []string{"fio", "nvme"},
		Config: machine.Config{Disks: []machine.Disk{disk(t, file+",if=nvme"), disk(t, "mem:4M,if=nvme,slot")}},
	}
	g.runAsking(t, nil)
}

// virtioFaultScript uses a disk of its own for each fault that Linux's driver does not recover from: it has no timeout.
const virtioFaultScript = `
waitfor test -b /dev/vdd
rd /dev/vda /tmp/good
# later RULE COMMAND… leaves a command waiting under a rule
later() { ask fault "$1"; shift; "$@" & pid=$!; ask hit; ask nofault; }
waits() { test -d /proc/$pid; }
over() { ! waits; }

mark; under "virtio-blk0,op=in,lba=128,fail" rd /dev/vda
check vblk-fail fails same $? 0
check vblk-fail-logged has "I/O error, dev vda, sector 128" dmesg
mark; under "virtio-blk0,op=in,lba=128,fail=2" rd /dev/vda
check vblk-unsupported fails same $? 0
check vblk-unsupported-logged has "operation not supported error, dev vda" dmesg
mark; under "virtio-blk0,op=out,lba=128,fail" wr /dev/vda
check vblk-fail-write fails same $? 0
check vblk-fail-write-logged has "I/O error, dev vda, sector 128 op 0x1:\(WRITE\)" dmesg
under "virtio-blk0,op=flush,fail" dd if=/dev/zero of=/dev/vda bs=4096 seek=300 count=1 conv=fsync
check vblk-flush-fails fails same $? 0
mark; now; under "virtio-blk0,op=in,times=1,delay=1500ms" rd /dev/vda
check vblk-delay-survives same $? 0
check vblk-delay-took took 1
under "virtio-blk0,op=in,hold=1,times=1" fio --name=h --filename=/dev/vda --rw=randread --bs=4k --size=1M --direct=1 --ioengine=libaio --iodepth=8 --minimal
check vblk-hold-survives same $? 0
under "virtio-blk0,op=in,times=1,extra-irq" rd /dev/vda
check vblk-extra-irq-survives same $? 0
under "virtio-blk0,op=in,lba=128,flip=3" rd /dev/vda /tmp/bad
check vblk-flip-silent same $? 0
check vblk-flip-seen fails cmp /tmp/good /tmp/bad
under "virtio-blk0,op=in,lba=128,short=512" rd /dev/vda /tmp/bad
check vblk-short-silent same $? 0
check vblk-short-seen fails cmp /tmp/good /tmp/bad
mark; under "virtio-blk0,op=in,lba=128,flip-table=39" rd /dev/vda
check vblk-flip-table-fails fails same $? 0
check vblk-flip-table-logged has "I/O error, dev vda, sector 128" dmesg
under "virtio-blk0,op=get_id,fail" cat /sys/block/vda/serial
check vblk-no-serial same "$(cat /tmp/out)" ""
check vblk-good-again rd /dev/vda /tmp/bad
check vblk-same-again cmp /tmp/good /tmp/bad
check vblk-still-verifies verify /dev/vda 512k

mark; later "virtio-blk1,op=in,times=1,duplicate" rd /dev/vdb
check vblk-duplicate-seen logged "id [0-9]* is not a head"
later "virtio-blk2,op=in,times=1,hang" rd /dev/vdc
check vblk-hang-waits waits
check vblk-hang-others-work rd /dev/vdc /dev/null 32
later "virtio-blk2,op=in,times=1,drop" rd /dev/vdc
check vblk-drop-waits waits
later "virtio-blk3,op=in,times=1,lose-irq" rd /dev/vdd
check vblk-lose-irq-waits waits
under "virtio-blk3,op=in,times=1,extra-irq" rd /dev/vdd /dev/null 32
check vblk-lose-irq-ends waitfor eval "rd /dev/vdd /dev/null 32; over"
check vblk-lose-irq-works verify /dev/vdd 512k
`

// TestDevicesFaultsVirtioBlk: a command that never ends is waited for without end; there is no way to reset a disk alone.
func TestDevicesFaultsVirtioBlk(t *testing.T) {
	file, _ := randomDisk(t, 4<<20)
	g := guest{
		script: faultWords + virtioFaultScript, programs: []string{"fio"},
		Config: machine.Config{Disks: []machine.Disk{
			disk(t, file+",if=virtio,serial=S1"), disk(t, "mem:4M,if=virtio"), disk(t, "mem:4M,if=virtio"), disk(t, "mem:4M,if=virtio"),
		}},
	}
	g.runAsking(t, nil)
}

// netFaultScript loses, delays, damages and repeats packets of NIC.
const netFaultScript = `
ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0
check there waitfor ping -c 1 -W 1 10.0.2.2
lost() { sed -n 's/.* \([0-9]*\)% packet loss.*/\1/p' /tmp/out; }
under "NIC,op=*,fail" ping -c 2 -W 1 10.0.2.2
check fail-loses same "$(lost)" 100
under "NIC,op=*,every=2,fail" ping -c 4 -i 0.2 -W 1 10.0.2.2
check some-lost test "$(lost)" -gt 0
check back-again waitfor ping -c 1 -W 1 10.0.2.2
under "NIC,op=*,delay=100ms" ping -c 2 -W 10 10.0.2.2
check delay-survives same "$(lost)" 0
check delay-took has "time=[1-9][0-9][0-9]" cat /tmp/out
under "NIC,op=*,duplicate,times=4" ping -c 2 -W 10 10.0.2.2
under "NIC,op=*,extra-irq" ping -c 2 -W 10 10.0.2.2
check extra-irq-survives same "$(lost)" 0
ask link down
check link-down waitfor has 0 cat /sys/class/net/eth0/carrier
ask link up
check link-up waitfor has 1 cat /sys/class/net/eth0/carrier
check works-again waitfor ping -c 1 -W 1 10.0.2.2
changes() { cat /sys/class/net/eth0/carrier_changes; }
flapped() { [ $(changes) -ge $((before+2)) ]; }
before=$(changes); under "NIC,op=*,times=1,link-down=400ms" ping -c 1 -W 1 10.0.2.2
check cable-comes-back waitfor flapped
before=$(changes); ask fault "NIC,at=0s,link-down=400ms"
check cable-by-time waitfor flapped
ask nofault
check works-at-last waitfor ping -c 1 -W 1 10.0.2.2
`

func TestDevicesFaultsNet(t *testing.T) {
	t.Parallel() // it waits most of the time
	for _, model := range []string{"virtio", "e1000e"} {
		t.Run(model, func(t *testing.T) {
			unit := map[string]string{"virtio": "virtio-net0", "e1000e": "e1000e0"}[model]
			g := guest{
				script: faultWords + strings.ReplaceAll(netFaultScript, "NIC", unit), programs: []string{"ip"},
				Config: machine.Config{NICs: []network.Options{nic(t, "user,model="+model)}},
			}
			g.runAsking(t, func(c *machine.Control, words []string) error { return c.SetLink(unit, words[1] == "up") })
		})
	}
}
