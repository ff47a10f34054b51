package tests

import (
	"fmt"
	"strings"
	"testing"

	"dfemu/machine"
)

// scsiScript uses three disks. Linux names disks as it finds them, which is in any order: A, B and C are their names.
const scsiScript = `
lun() { ls /sys/class/scsi_device/*:$1/device/block; }
waitfor eval 'A=$(lun 0:0:0); B=$(lun 0:0:1); C=$(lun 0:7:0); test -b "/dev/$A" -a -b "/dev/$B" -a -b "/dev/$C"'
check whole-disk same "$(sum /dev/$A)" $SUM
check hosts same "$(cat /sys/class/scsi_host/host*/proc_name | grep -c virtio_scsi)" 1
check addresses same "$(ls /sys/class/scsi_device | cut -d: -f2- | sort | tr '\n' ' ')" "0:0:0 0:0:1 0:7:0 "
check luns has "Lun list length = 16" sg_luns /dev/$A
check inquiry has "Vendor identification: DFEMU" sg_inq /dev/$A
check serial has "SERIAL-A" sg_vpd --page=sn /dev/$A
check identification has "NAA|naa" sg_vpd --page=di /dev/$A
check block-limits has "Maximum unmap LBA count: 4194304" sg_vpd --page=bl /dev/$A
check provisioning has "Unmap command supported \(LBPU\): 1" sg_vpd --page=lbpv /dev/$A
check pages has "Supported VPD pages" sg_vpd /dev/$A
check capacity-10 has "Last LBA=32767" sg_readcap /dev/$A
check capacity-16 has "Logical block provisioning: lbpme=1" sg_readcap --16 /dev/$A
check big-blocks same "$(cat /sys/block/$C/queue/logical_block_size)" 4096
check ready sg_turs /dev/$A
check opcodes has "Write same\(16\)" sg_opcodes /dev/$A
check modes has "Caching" sg_modes /dev/$A
check write-cache same "$(cat /sys/class/scsi_disk/*:0:0:0/cache_type)" "write back"
check cache-off eval "echo write through >/sys/class/scsi_disk/$(cd /sys/class/scsi_disk; echo *:0:0:0)/cache_type"
check write-through verify /dev/$A 512k
check cache-on eval "echo write back >/sys/class/scsi_disk/$(cd /sys/class/scsi_disk; echo *:0:0:0)/cache_type"
check verify verify /dev/$A 4M
check verify-large verify /dev/$A 8M write 1M
check verify-big-blocks verify /dev/$C 1M
check sg-verify sg_verify --lba=0 --count=64 /dev/$A
check flush sg_sync /dev/$A
check fill dd if=/dev/urandom of=/dev/$A bs=4096 count=16 seek=64 oflag=direct
check unmap sg_unmap --lba=512 --num=64 --force /dev/$A
check unmapped zeros /dev/$A 64 8
check write-same sg_write_same --lba=576 --num=64 --xferlen=512 --in=/dev/zero /dev/$A
check same-zero zeros /dev/$A 72 8
check discard fio --name=t --filename=/dev/$A --rw=trim --bs=64k --size=1M --offset=8M --minimal
check discarded zeros /dev/$A 2048 256
check past-end fails sg_dd if=/dev/$A of=/dev/null bs=512 skip=40000 count=1
check read-only has 1 cat /sys/block/$B/ro
check read-only-write fails dd if=/dev/zero of=/dev/$B bs=4096 count=1 oflag=direct
check lun-reset sg_reset --device /dev/$A
check after-reset verify /dev/$A 512k
check sense sg_requests /dev/$A
check no-errors fails has "I/O error, dev $A|timing out|rejecting I/O to offline" dmesg

ask plug
check plugged waitfor test -b /dev/sdd
check plugged-verify verify /dev/sdd 512k
ask unplug
check unplugged waitfor test ! -b /dev/sdd
check others-work verify /dev/$A 512k

ask fault virtio-scsi0,op=read*,lba=4096,times=1,fail
check medium-error fails dd if=/dev/$A of=/dev/null bs=512 skip=4096 count=1 iflag=direct
check medium-error-logged logged "Unrecovered read error"
check read-again dd if=/dev/$A of=/dev/null bs=512 skip=4096 count=1 iflag=direct
ask nofault
# Linux never gives up on this host's commands: it waits.
ask fault virtio-scsi0,op=read*,lba=8192,times=1,delay=300ms
check delayed dd if=/dev/$A of=/dev/null bs=512 skip=8192 count=1 iflag=direct
ask nofault
check after-delay verify /dev/$A 512k
check no-oops fails has "BUG:|Oops" dmesg
echo "after: $(sum /dev/$A)"
`

// TestDevicesSCSI has Linux use disks of the virtio SCSI host.
func TestDevicesSCSI(t *testing.T) {
	file, _ := randomDisk(t, 16<<20)
	second, _ := randomDisk(t, 1<<20)
	g := guest{
		script: assign("SUM", fileSum(t, file)) + scsiScript,
		programs: []string{"fio", "sg_inq", "sg_luns", "sg_vpd", "sg_readcap", "sg_turs", "sg_opcodes", "sg_modes", "sg_verify", "sg_sync", "sg_unmap",
			"sg_write_same", "sg_dd", "sg_reset", "sg_requests"},
		drivers: []string{"virtio_scsi"},
		Config: machine.Config{Memory: 512 << 20, Disks: []machine.Disk{
			disk(t, file+",if=scsi,serial=SERIAL-A"),
			disk(t, second+",if=scsi,target=0,lun=1,ro"),
			disk(t, "mem:4M,if=scsi,target=7,logical=4096"),
		}},
	}
	name := ""
	text := g.runAsking(t, func(c *machine.Control, words []string) error {
		var err error
		switch words[0] {
		case "plug":
			name, err = c.PlugDisk(disk(t, "mem:2M,if=scsi,serial=HOT"))
		case "unplug":
			err = c.Unplug(name, false)
		default:
			err = fmt.Errorf("nobody knows %q", words)
		}
		return err
	})
	if want := "after: " + fileSum(t, file); !strings.Contains(text, want) {
		t.Errorf("the guest and the host do not see the same disk afterwards: host has %s", want)
	}
}
