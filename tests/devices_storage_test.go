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
check write-same sg_write_same --10 --in=/dev/zero --num=8 --lba=1024 --unmap /dev/sda
check bad-sector hdparm --yes-i-know-what-i-am-doing --make-bad-sector 2000 /dev/sda
check bad-read fails hdparm --read-sector 2000 /dev/sda
check bad-logged logged "error: { UNC }|Unrecovered read error|I/O error, dev sda"
check repair hdparm --yes-i-know-what-i-am-doing --repair-sector 2000 /dev/sda
check repaired hdparm --read-sector 2000 /dev/sda
check past-the-end fails dd if=/dev/sda of=/dev/null bs=512 skip=32768 count=1 iflag=direct
check buffered-speed hdparm -t --direct /dev/sda
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
check no-errors fails has "exception Emask.*frozen|hard resetting link" dmesg
sync; blockdev --flushbufs /dev/sda
echo "after: $(sum /dev/sda)"
`

// TestDevicesAHCI has Linux use disks and an optical drive of the AHCI adapter.
func TestDevicesAHCI(t *testing.T) {
	file, _ := randomDisk(t, 16<<20)
	cd := iso(t)
	g := guest{
		script:   assign("SUM", fileSum(t, file), "CDSUM", fileSum(t, cd)) + ahciScript,
		programs: []string{"hdparm", "smartctl", "fio", "sg_inq", "sg_vpd", "sg_readcap", "sg_sat_identify", "sg_sync", "sg_start", "sg_get_config", "sg_write_same"},
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
