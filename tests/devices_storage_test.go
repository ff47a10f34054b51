package tests

import (
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dfemu/devices/block"
	"dfemu/machine"
)

// fileSum is the MD5 sum of a whole file.
func fileSum(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", md5.Sum(data))
}

// disk is a disk of the command line's syntax.
func disk(t *testing.T, spec string) machine.Disk {
	t.Helper()
	o, err := block.ParseDisk(spec)
	if err != nil {
		t.Fatal(err)
	}
	return machine.Disk{File: o.File, If: o.Interface, Serial: o.Serial, Store: o}
}

// iso makes a CD image with one file.
func iso(t *testing.T) string {
	t.Helper()
	need(t, "/usr/bin/xorriso", installRemedy)
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "cd"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cd", "hello.txt"), []byte("a file on the disc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "cd.iso")
	run(t, "xorriso", "-as", "mkisofs", "-quiet", "-o", name, "-R", "-V", "DFEMU", filepath.Join(dir, "cd"))
	return name
}

// ahciScript uses the disks at the first two ports. Linux names disks as it finds them, which is in any order: A and B are
// their names.
const ahciScript = `
ata() { for d in /sys/block/sd*; do case $(readlink $d) in */ata$1/*) echo ${d##*/};; esac; done; }
waitfor eval 'A=$(ata 1); B=$(ata 2); test -b "/dev/$A" -a -b "/dev/$B" -a -b /dev/sr0'
check whole-disk same "$(sum /dev/$A)" $SUM
check serial has "Serial Number: +DFEMU-AHCI" hdparm -I /dev/$A
check model has "Model Number: +dfemu test drive" hdparm -I /dev/$A
check features has "48-bit Address feature set" hdparm -I /dev/$A
check trim-announced has "Data Set Management TRIM supported" hdparm -I /dev/$A
check ncq-depth has "Queue depth: 32" hdparm -I /dev/$A
check ncq-used same "$(cat /sys/block/$A/device/queue_depth)" 32
check physical-size same "$(cat /sys/block/$A/queue/physical_block_size)" 4096
check inquiry has "Product identification: dfemu test drive" sg_inq /dev/$A
check inquiry-serial has DFEMU-AHCI sg_inq -p 0x80 /dev/$A
check ata-information has "SAT Vendor identification" sg_vpd -p ai /dev/$A
check capacity has "Number of logical blocks=32768" sg_readcap /dev/$A
check sat-identify sg_sat_identify /dev/$A
check write-verify verify /dev/$A 4M
check write-verify-large verify /dev/$A 8M write 512k
check flush hdparm -F /dev/$A
check synchronize sg_sync /dev/$A
check smart-health has PASSED smartctl -H /dev/$A
check smart-attributes has Power_On_Hours smartctl -A /dev/$A
check smart-error-log has "No Errors Logged" smartctl -l error /dev/$A
check smart-short-test has "Testing has begun" smartctl -t short /dev/$A
check smart-test-log has "Self-test" smartctl -l selftest /dev/$A
check log-directory has "0x04" smartctl -l directory /dev/$A
check device-statistics has "Power-on Hours" smartctl -l devstat /dev/$A
check phy-counters has "Command failed" smartctl -l sataphy /dev/$A
check write-cache-off has "write-caching = +0" hdparm -W0 /dev/$A
check write-through verify /dev/$A 512k
check write-cache-on has "write-caching = +1" hdparm -W1 /dev/$A
check standby hdparm -y /dev/$A
check standby-state has "standby" hdparm -C /dev/$A
check wake dd if=/dev/$A of=/dev/null bs=4096 count=1 skip=77 iflag=direct
check idle-state has "active/idle" hdparm -C /dev/$A
check fill dd if=/dev/$A of=/dev/$A bs=4096 count=8 seek=64 skip=128 oflag=direct
check trim fio --name=t --filename=/dev/$A --rw=trim --bs=4k --size=32k --offset=256k --minimal
check trimmed zeros /dev/$A 64 8
check bad-sector hdparm --yes-i-know-what-i-am-doing --make-bad-sector 2000 /dev/$A
check bad-read fails dd if=/dev/$A of=/dev/null bs=512 skip=2000 count=1 iflag=direct
check bad-logged logged "error: { UNC }|Unrecovered read error|I/O error, dev $A"
check repair hdparm --yes-i-know-what-i-am-doing --repair-sector 2000 /dev/$A
check repaired hdparm --read-sector 2000 /dev/$A
check 4k-sector same "$(cat /sys/block/$B/queue/logical_block_size)" 4096
check 4k-write-verify verify /dev/$B 2M
check cd-inquiry has "PDT=5" sg_inq /dev/sr0
check cd-whole same "$(dd if=/dev/sr0 bs=2048 2>/dev/null | sum)" $CDSUM
check cd-mount mount -t iso9660 -o ro /dev/sr0 /mnt
check cd-file same "$(cat /mnt/hello.txt)" "a file on the disc"
check cd-umount umount /mnt
check cd-write-refused fails dd if=/dev/zero of=/dev/sr0 bs=2048 count=1 oflag=direct
check cd-features has "Profile" sg_get_config /dev/sr0
check cd-eject sg_start --eject /dev/sr0
check cd-gone fails dd if=/dev/sr0 of=/dev/null bs=2048 count=1
check cd-load sg_start --load /dev/sr0
check no-errors fails has "frozen|hard resetting link" dmesg
sync; blockdev --flushbufs /dev/$A
echo "after: $(sum /dev/$A)"
`

// TestDevicesAHCI has Linux use disks and an optical drive of the AHCI adapter.
func TestDevicesAHCI(t *testing.T) {
	file, _ := randomDisk(t, 16<<20)
	cd := iso(t)
	g := guest{
		script:   assign("SUM", fileSum(t, file), "CDSUM", fileSum(t, cd)) + ahciScript,
		programs: []string{"hdparm", "smartctl", "fio", "sg_inq", "sg_vpd", "sg_readcap", "sg_sat_identify", "sg_sync", "sg_start", "sg_get_config"},
		Config: machine.Config{Disks: []machine.Disk{
			disk(t, file+",if=ahci,serial=DFEMU-AHCI,model=dfemu test drive,physical=4096"),
			disk(t, "mem:8M,if=ahci,logical=4096"),
			disk(t, cd+",if=ahci,media=cdrom"),
		}},
	}
	text := g.run(t)
	if want := "after: " + fileSum(t, file); !strings.Contains(text, want) {
		t.Errorf("the guest and the host do not see the same disk afterwards: host has %s", want)
	}
}

// nvmeScript uses a controller with the serial number DFEMU-NVME, called A there, and another, B.
const nvmeScript = `
controller() { grep $1 DFEMU-NVME /sys/class/nvme/nvme*/serial | cut -d/ -f5; }
waitfor eval 'A=$(controller -l); B=$(controller -L); test -b /dev/${A}n2 -a -b /dev/${B}n1'
check whole-1 same "$(sum /dev/${A}n1)" $SUM
check whole-2 same "$(sum /dev/${A}n2)" $SUM2
check id-ctrl has "sn +: DFEMU-NVME" nvme id-ctrl /dev/${A}
check model has "mn +: a test drive" nvme id-ctrl /dev/${A}
check id-ns has "nsze +: 0x8000" nvme id-ns /dev/${A}n1
check descriptors has "eui64|nguid" nvme ns-descs /dev/${A}n1
check list has "DFEMU-NVME" nvme list
check list-ns has "\[ +1\]:0x2" nvme list-ns /dev/${A}
check list-ctrl nvme list-ctrl /dev/${A}
check smart-log has "percentage_used" nvme smart-log /dev/${A}
check smartctl has "PASSED" smartctl -H /dev/${A}
check error-log nvme error-log /dev/${A}
check firmware-log has "frs1" nvme fw-log /dev/${A}
check effects-log nvme effects-log /dev/${A}
check features has "value" nvme get-feature /dev/${A} -f 7
check set-feature nvme set-feature /dev/${A} -f 4 -v 350
check write-verify verify /dev/${A}n1 4M
check write-verify-large verify /dev/${A}n1 8M write 1M
check write-verify-2 verify /dev/${A}n2 2M
check flush nvme flush /dev/${A}n1
check fill dd if=/dev/urandom of=/dev/${A}n1 bs=4096 count=16 seek=64 oflag=direct
check dsm nvme dsm /dev/${A}n1 --ad --slbs=512 --blocks=64
check dsm-zero zeros /dev/${A}n1 64 8
check write-zeroes nvme write-zeroes /dev/${A}n1 --start-block=576 --block-count=63
check write-zeroes-zero zeros /dev/${A}n1 72 8
check trim fio --name=t --filename=/dev/${A}n1 --rw=trim --bs=4k --size=64k --minimal
check verify nvme verify /dev/${A}n1 --start-block=0 --block-count=63
check compare nvme compare /dev/${A}n1 --start-block=576 --block-count=7 --data-size=4096 --data=/dev/zero
check compare-differs fails nvme compare /dev/${A}n1 --start-block=576 --block-count=7 --data-size=4096 --data=/bin/busybox
check write-uncorrectable nvme write-uncor /dev/${A}n1 --start-block=800 --block-count=7
check read-uncorrectable fails dd if=/dev/${A}n1 of=/dev/null bs=4096 skip=100 count=1 iflag=direct
check error-logged has "critical medium error|Unrecovered Read Error" dmesg
check rewrite dd if=/dev/zero of=/dev/${A}n1 bs=4096 seek=100 count=1 oflag=direct
check reread zeros /dev/${A}n1 100 1
check copy nvme copy /dev/${A}n1 --sdlba=4096 --blocks=7 --slbs=0
check self-test nvme device-self-test /dev/${A} -n 1 -s 1
check self-test-log nvme self-test-log /dev/${A}
printf 12345678 >/tmp/host-id
check host-identifier nvme set-feature /dev/${A} -f 0x81 -l 8 -d /tmp/host-id
check resv-register nvme resv-register /dev/${A}n2 --nrkey=0x1234 --rrega=0
check resv-acquire nvme resv-acquire /dev/${A}n2 --crkey=0x1234 --rtype=1 --racqa=0
check resv-report has "rtype +: 1" nvme resv-report /dev/${A}n2
check resv-release nvme resv-release /dev/${A}n2 --crkey=0x1234 --rtype=1 --rrela=0
check format-4k nvme format /dev/${A}n2 --lbaf=1 --force
check format-4k-size same "$(cat /sys/block/${A}n2/queue/logical_block_size)" 4096
check format-4k-verify verify /dev/${A}n2 1M
check format-512 nvme format /dev/${A}n2 --lbaf=0 --force
check formatted-zero zeros /dev/${A}n2 0 16
check create-ns nvme create-ns /dev/${A} --nsze=4096 --ncap=4096 --flbas=0 --dps=0 --nmic=0
check attach-ns nvme attach-ns /dev/${A} --namespace-id=3 --controllers=$(nvme id-ctrl /dev/${A} | awk '/^cntlid/ {print $3}')
nvme ns-rescan /dev/${A}
check new-ns waitfor test -b /dev/${A}n3
check new-ns-verify verify /dev/${A}n3 1M
check detach-ns nvme detach-ns /dev/${A} --namespace-id=3 --controllers=$(nvme id-ctrl /dev/${A} | awk '/^cntlid/ {print $3}')
check delete-ns nvme delete-ns /dev/${A} --namespace-id=3
check old-ns waitfor test ! -b /dev/${A}n3
check reset nvme reset /dev/${A}
check after-reset verify /dev/${A}n1 512k
check subsystem-reset nvme subsystem-reset /dev/${B}
check zoned-model same "$(cat /sys/block/${B}n1/queue/zoned)" host-managed
check no-timeouts fails has "timeout|controller is down" dmesg
echo "after: $(sum /dev/${A}n1)"
`

// TestDevicesNVMe has Linux use namespaces of an NVMe controller, static ones and some of its own.
func TestDevicesNVMe(t *testing.T) {
	file, _ := randomDisk(t, 16<<20)
	second := filepath.Join(t.TempDir(), "second.img")
	if err := os.WriteFile(second, []byte(strings.Repeat("another disk....", 4<<20/16)), 0o600); err != nil {
		t.Fatal(err)
	}
	g := guest{
		script:   assign("SUM", fileSum(t, file), "SUM2", fileSum(t, second)) + nvmeScript,
		programs: []string{"nvme", "smartctl", "fio"},
		Config: machine.Config{Disks: []machine.Disk{
			disk(t, file+",if=nvme,ctrl=a,serial=DFEMU-NVME,model=a test drive"),
			disk(t, second+",if=nvme,ctrl=a"),
			disk(t, "mem:64M,if=nvme,ctrl=a,pool"),
			disk(t, "mem:64M,if=nvme,zoned"),
		}},
	}
	text := g.run(t)
	if want := "after: " + fileSum(t, file); !strings.Contains(text, want) {
		t.Errorf("the guest and the host do not see the same disk afterwards: host has %s", want)
	}
}

const virtioBlkScript = `
waitfor test -b /dev/vda
check whole-disk same "$(sum /dev/vda)" $SUM
check serial same "$(cat /sys/block/vda/serial)" DFEMU-VIRTIO
check physical-size same "$(cat /sys/block/vda/queue/physical_block_size)" 4096
check write-verify verify /dev/vda 4M
check write-verify-large verify /dev/vda 8M write 1M
check write-back same "$(cat /sys/block/vda/queue/write_cache)" "write back"
check write-through-set eval "echo write through >/sys/block/vda/cache_type"
check write-through verify /dev/vda 512k
check fill dd if=/dev/urandom of=/dev/vda bs=4096 count=8 seek=64 oflag=direct
check trim fio --name=t --filename=/dev/vda --rw=trim --bs=4k --size=32k --offset=256k --minimal
check trimmed zeros /dev/vda 64 8
check read-only-write fails dd if=/dev/zero of=/dev/vdb bs=4096 count=1 oflag=direct
check read-only-read same "$(sum /dev/vdb)" $SUM2
check no-errors fails has "I/O error, dev vda" dmesg
echo "after: $(sum /dev/vda)"
`

// TestDevicesVirtioBlk has Linux use virtio disks.
func TestDevicesVirtioBlk(t *testing.T) {
	file, _ := randomDisk(t, 16<<20)
	second, _ := randomDisk(t, 2<<20)
	g := guest{
		script:   assign("SUM", fileSum(t, file), "SUM2", fileSum(t, second)) + virtioBlkScript,
		programs: []string{"fio"},
		Config: machine.Config{Disks: []machine.Disk{
			disk(t, file+",if=virtio,serial=DFEMU-VIRTIO,physical=4096"),
			disk(t, second+",if=virtio,ro"),
		}},
	}
	text := g.run(t)
	if want := "after: " + fileSum(t, file); !strings.Contains(text, want) {
		t.Errorf("the guest and the host do not see the same disk afterwards: host has %s", want)
	}
}
