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

const ahciScript = `
waitfor test -b /dev/sda; waitfor test -b /dev/sr0
check whole-disk same "$(sum /dev/sda)" $SUM
check serial has "Serial Number: +DFEMU-AHCI" hdparm -I /dev/sda
check model has "Model Number: +dfemu test drive" hdparm -I /dev/sda
check features has "48-bit Address feature set" hdparm -I /dev/sda
check trim-announced has "Data Set Management TRIM supported" hdparm -I /dev/sda
check ncq-depth has "Queue depth: 32" hdparm -I /dev/sda
check ncq-used same "$(cat /sys/block/sda/device/queue_depth)" 32
check physical-size same "$(cat /sys/block/sda/queue/physical_block_size)" 4096
check inquiry has "Product identification: dfemu test drive" sg_inq /dev/sda
check inquiry-serial has DFEMU-AHCI sg_inq -p 0x80 /dev/sda
check ata-information has "SAT Vendor identification" sg_vpd -p ai /dev/sda
check capacity has "Number of logical blocks=32768" sg_readcap /dev/sda
check sat-identify sg_sat_identify /dev/sda
check write-verify verify /dev/sda 4M
check write-verify-large verify /dev/sda 8M write 512k
check flush hdparm -F /dev/sda
check synchronize sg_sync /dev/sda
check smart-health has PASSED smartctl -H /dev/sda
check smart-attributes has Power_On_Hours smartctl -A /dev/sda
check smart-error-log has "No Errors Logged" smartctl -l error /dev/sda
check smart-short-test has "Testing has begun" smartctl -t short /dev/sda
check smart-test-log has "Self-test" smartctl -l selftest /dev/sda
check log-directory has "0x04" smartctl -l directory /dev/sda
check device-statistics has "Power-on Hours" smartctl -l devstat /dev/sda
check phy-counters has "Command failed" smartctl -l sataphy /dev/sda
check write-cache-off has "write-caching = +0" hdparm -W0 /dev/sda
check write-through verify /dev/sda 512k
check write-cache-on has "write-caching = +1" hdparm -W1 /dev/sda
check standby hdparm -y /dev/sda
check standby-state has "standby" hdparm -C /dev/sda
check wake dd if=/dev/sda of=/dev/null bs=4096 count=1 skip=77 iflag=direct
check idle-state has "active/idle" hdparm -C /dev/sda
check fill dd if=/dev/sda of=/dev/sda bs=4096 count=8 seek=64 skip=128 oflag=direct
check trim fio --name=t --filename=/dev/sda --rw=trim --bs=4k --size=32k --offset=256k --minimal
check trimmed zeros /dev/sda 64 8
check bad-sector hdparm --yes-i-know-what-i-am-doing --make-bad-sector 2000 /dev/sda
check bad-read fails dd if=/dev/sda of=/dev/null bs=512 skip=2000 count=1 iflag=direct
check bad-logged logged "error: { UNC }|Unrecovered read error|I/O error, dev sda"
check repair hdparm --yes-i-know-what-i-am-doing --repair-sector 2000 /dev/sda
check repaired hdparm --read-sector 2000 /dev/sda
check 4k-sector same "$(cat /sys/block/sdb/queue/logical_block_size)" 4096
check 4k-write-verify verify /dev/sdb 2M
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
sync; blockdev --flushbufs /dev/sda
echo "after: $(sum /dev/sda)"
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

const nvmeScript = `
waitfor test -b /dev/nvme0n2; waitfor test -b /dev/nvme1n1
check whole-1 same "$(sum /dev/nvme0n1)" $SUM
check whole-2 same "$(sum /dev/nvme0n2)" $SUM2
check id-ctrl has "sn +: DFEMU-NVME" nvme id-ctrl /dev/nvme0
check model has "mn +: a test drive" nvme id-ctrl /dev/nvme0
check id-ns has "nsze +: 0x8000" nvme id-ns /dev/nvme0n1
check descriptors has "eui64|nguid" nvme ns-descs /dev/nvme0n1
check list has "DFEMU-NVME" nvme list
check list-ns has "\[ +1\]:0x2" nvme list-ns /dev/nvme0
check list-ctrl nvme list-ctrl /dev/nvme0
check smart-log has "percentage_used" nvme smart-log /dev/nvme0
check smartctl has "PASSED" smartctl -H /dev/nvme0
check error-log nvme error-log /dev/nvme0
check firmware-log has "frs1" nvme fw-log /dev/nvme0
check effects-log nvme effects-log /dev/nvme0
check features has "value" nvme get-feature /dev/nvme0 -f 7
check set-feature nvme set-feature /dev/nvme0 -f 4 -v 350
check write-verify verify /dev/nvme0n1 4M
check write-verify-large verify /dev/nvme0n1 8M write 1M
check write-verify-2 verify /dev/nvme0n2 2M
check flush nvme flush /dev/nvme0n1
check fill dd if=/dev/urandom of=/dev/nvme0n1 bs=4096 count=16 seek=64 oflag=direct
check dsm nvme dsm /dev/nvme0n1 --ad --slbs=512 --blocks=64
check dsm-zero zeros /dev/nvme0n1 64 8
check write-zeroes nvme write-zeroes /dev/nvme0n1 --start-block=576 --block-count=63
check write-zeroes-zero zeros /dev/nvme0n1 72 8
check trim fio --name=t --filename=/dev/nvme0n1 --rw=trim --bs=4k --size=64k --minimal
check verify nvme verify /dev/nvme0n1 --start-block=0 --block-count=63
check compare nvme compare /dev/nvme0n1 --start-block=576 --block-count=7 --data-size=4096 --data=/dev/zero
check compare-differs fails nvme compare /dev/nvme0n1 --start-block=576 --block-count=7 --data-size=4096 --data=/bin/busybox
check write-uncorrectable nvme write-uncor /dev/nvme0n1 --start-block=800 --block-count=7
check read-uncorrectable fails dd if=/dev/nvme0n1 of=/dev/null bs=4096 skip=100 count=1 iflag=direct
check error-logged has "critical medium error|Unrecovered Read Error" dmesg
check rewrite dd if=/dev/zero of=/dev/nvme0n1 bs=4096 seek=100 count=1 oflag=direct
check reread zeros /dev/nvme0n1 100 1
check copy nvme copy /dev/nvme0n1 --sdlba=4096 --blocks=7 --slbs=0
check self-test nvme device-self-test /dev/nvme0 -n 1 -s 1
check self-test-log nvme self-test-log /dev/nvme0
printf 12345678 >/tmp/host-id
check host-identifier nvme set-feature /dev/nvme0 -f 0x81 -l 8 -d /tmp/host-id
check resv-register nvme resv-register /dev/nvme0n2 --nrkey=0x1234 --rrega=0
check resv-acquire nvme resv-acquire /dev/nvme0n2 --crkey=0x1234 --rtype=1 --racqa=0
check resv-report has "rtype +: 1" nvme resv-report /dev/nvme0n2
check resv-release nvme resv-release /dev/nvme0n2 --crkey=0x1234 --rtype=1 --rrela=0
check format-4k nvme format /dev/nvme0n2 --lbaf=1 --force
check format-4k-size same "$(cat /sys/block/nvme0n2/queue/logical_block_size)" 4096
check format-4k-verify verify /dev/nvme0n2 1M
check format-512 nvme format /dev/nvme0n2 --lbaf=0 --force
check formatted-zero zeros /dev/nvme0n2 0 16
check create-ns nvme create-ns /dev/nvme0 --nsze=4096 --ncap=4096 --flbas=0 --dps=0 --nmic=0
check attach-ns nvme attach-ns /dev/nvme0 --namespace-id=3 --controllers=$(nvme id-ctrl /dev/nvme0 | awk '/^cntlid/ {print $3}')
nvme ns-rescan /dev/nvme0
check new-ns waitfor test -b /dev/nvme0n3
check new-ns-verify verify /dev/nvme0n3 1M
check detach-ns nvme detach-ns /dev/nvme0 --namespace-id=3 --controllers=$(nvme id-ctrl /dev/nvme0 | awk '/^cntlid/ {print $3}')
check delete-ns nvme delete-ns /dev/nvme0 --namespace-id=3
check old-ns waitfor test ! -b /dev/nvme0n3
check reset nvme reset /dev/nvme0
check after-reset verify /dev/nvme0n1 512k
check subsystem-reset nvme subsystem-reset /dev/nvme1
check zoned-model same "$(cat /sys/block/nvme1n1/queue/zoned)" host-managed
check no-timeouts fails has "timeout|controller is down" dmesg
echo "after: $(sum /dev/nvme0n1)"
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
