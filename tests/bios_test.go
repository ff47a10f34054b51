package tests

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"dfemu/machine"
)

const seabios = "/usr/share/seabios/bios-256k.bin"

// bootSector reads the second sector by INT 13h, sends the text in it to COM1 and leaves
// through port 0xf4 with 0x15, or 0x16 when the read failed.
var bootSector = []byte{
	0x31, 0xc0, // xor ax, ax
	0x8e, 0xd8, // mov ds, ax
	0x8e, 0xc0, // mov es, ax
	0xb8, 0x01, 0x02, // mov ax, 0x0201: read one sector
	0xb9, 0x02, 0x00, // mov cx, 2: cylinder 0, sector 2
	0xb6, 0x00, // mov dh, 0
	0xbb, 0x00, 0x80, // mov bx, 0x8000
	0xcd, 0x13, // int 0x13
	0x72, 0x15, // jc fail
	0xbe, 0x00, 0x80, // mov si, 0x8000
	0xac,       // next: lodsb
	0x84, 0xc0, // test al, al
	0x74, 0x06, // jz done
	0xba, 0xf8, 0x03, // mov dx, 0x3f8
	0xee,       // out dx, al
	0xeb, 0xf5, // jmp next
	0xb0, 0x15, // done: mov al, 0x15
	0xe6, 0xf4, // out 0xf4, al
	0xf4, 0xeb, 0xfd, // hlt; jmp
	0xb0, 0x16, // fail: mov al, 0x16
	0xe6, 0xf4, // out 0xf4, al
	0xf4, 0xeb, 0xfd,
}

// TestBootSector starts a boot sector from a disk through SeaBIOS.
func TestBootSector(t *testing.T) {
	bios := need(t, seabios, installRemedy)
	eachCPU(t, func(t *testing.T, accel string, cpus int) {
		image := make([]byte, 1<<20)
		copy(image, bootSector)
		image[510], image[511] = 0x55, 0xaa
		copy(image[512:], "hello from the second sector\n")
		disk := filepath.Join(t.TempDir(), "disk.img")
		if err := os.WriteFile(disk, image, 0o600); err != nil {
			t.Fatal(err)
		}
		var out output
		o := boot(t, machine.Config{
			Accel: accel, CPUs: cpus, Memory: 128 << 20, Firmware: bios,
			Disks:  []machine.Disk{{File: disk}},
			Serial: [4]machine.Serial{{Out: &out}},
		})
		if o.Cause != machine.GuestExit || o.Code != 0x15<<1|1 {
			t.Errorf("ended with %v code %d, want exit code %d", o.Cause, o.Code, 0x15<<1|1)
		}
		out.expect(t, "hello from the second sector")
	})
}

// TestGRUB boots a disk with GRUB, which reads a file from a FAT file system
// and powers the machine off.
func TestGRUB(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a whole guest")
	}
	bios := need(t, seabios, installRemedy)
	disk := grubDisk(t)
	eachCPU(t, func(t *testing.T, accel string, cpus int) {
		var out output
		o := boot(t, machine.Config{
			Accel: accel, CPUs: cpus, Memory: 128 << 20, Firmware: bios, Snapshot: true,
			Disks:  []machine.Disk{{File: disk}},
			Serial: [4]machine.Serial{{Out: &out}},
		})
		if o.Cause != machine.PoweredOff {
			t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
		}
		out.expect(t, "GRUB has started", "a file on the disk")
	})
}

// grubDisk makes an image with GRUB in front of a FAT partition.
func grubDisk(t *testing.T) string {
	t.Helper()
	const (
		modules = "/usr/lib/grub/i386-pc"
		start   = 2048 // first sector of the partition
		sectors = 32768
	)
	need(t, modules+"/boot.img", installRemedy)
	need(t, "/usr/bin/grub-mkimage", installRemedy)
	need(t, "/usr/bin/mformat", installRemedy)
	dir := t.TempDir()
	config := filepath.Join(dir, "grub.cfg")
	script := "serial --unit=0 --speed=115200\nterminal_output serial\necho GRUB has started\n" +
		"cat (hd0,msdos1)/file.txt\nhalt\n"
	text := filepath.Join(dir, "file.txt")
	for name, content := range map[string]string{config: script, text: "a file on the disk\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	core := filepath.Join(dir, "core.img")
	run(t, "grub-mkimage", "-O", "i386-pc", "-o", core, "-c", config, "-p", "/boot/grub",
		"biosdisk", "part_msdos", "fat", "serial", "terminal", "echo", "cat", "halt")

	image := make([]byte, (start+sectors)*512)
	mbr, err := os.ReadFile(modules + "/boot.img")
	if err != nil {
		t.Fatal(err)
	}
	stage, err := os.ReadFile(core)
	if err != nil {
		t.Fatal(err)
	}
	if len(stage) > (start-1)*512 {
		t.Fatalf("GRUB's image of %d bytes does not fit before the partition", len(stage))
	}
	copy(image, mbr[:446])
	copy(image[512:], stage)
	entry := image[446:]
	entry[0], entry[4] = 0x80, 0x0e // active, FAT16 with LBA
	binary.LittleEndian.PutUint32(entry[8:], start)
	binary.LittleEndian.PutUint32(entry[12:], sectors)
	image[510], image[511] = 0x55, 0xaa
	disk := filepath.Join(dir, "disk.img")
	if err := os.WriteFile(disk, image, 0o600); err != nil {
		t.Fatal(err)
	}
	part := fmt.Sprintf("%s@@%d", disk, start*512)
	run(t, "mformat", "-i", part, "-T", fmt.Sprint(sectors), "-h", "16", "-s", "63", "::")
	run(t, "mcopy", "-i", part, text, "::file.txt")
	return disk
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
