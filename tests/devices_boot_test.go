package tests

import (
	"os"
	"path/filepath"
	"testing"

	"dfemu/machine"
)

// TestFirmwareDisks has SeaBIOS start GRUB from a disk of each kind, and GRUB read a file from it.
func TestFirmwareDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a whole guest")
	}
	bios := need(t, seabios, installRemedy)
	file := grubDisk(t)
	for _, name := range machine.DiskInterfaces() {
		t.Run(name, func(t *testing.T) {
			out := newConsole()
			start(t, machine.Config{
				Accel: "jit", Memory: 128 << 20, Firmware: bios, Snapshot: true,
				Disks:  []machine.Disk{disk(t, file+",if="+name)},
				Serial: [4]machine.Serial{{Out: out}},
			}, out)()
			expectText(t, out.String(), "GRUB has started", "a file on the disk")
		})
	}
}

// TestFirmwareDisc has SeaBIOS start GRUB from an optical disc (El Torito) in a drive of the AHCI adapter.
func TestFirmwareDisc(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a whole guest")
	}
	bios := need(t, seabios, installRemedy)
	const modules = "/usr/lib/grub/i386-pc"
	need(t, modules+"/cdboot.img", installRemedy)
	need(t, "/usr/bin/grub-mkimage", installRemedy)
	need(t, "/usr/bin/xorriso", installRemedy)
	dir := t.TempDir()
	root := filepath.Join(dir, "cd")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "grub.cfg")
	for name, content := range map[string]string{
		config:                          "serial --unit=0 --speed=115200\nterminal_output serial\necho GRUB has started\ncat (cd)/file.txt\nhalt\n",
		filepath.Join(root, "file.txt"): "a file on the disc\n",
	} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "grub-mkimage", "-O", "i386-pc-eltorito", "-o", filepath.Join(root, "boot.img"), "-c", config, "-p", "/boot/grub",
		"biosdisk", "iso9660", "serial", "terminal", "echo", "cat", "halt")
	name := filepath.Join(dir, "cd.iso")
	run(t, "xorriso", "-as", "mkisofs", "-quiet", "-o", name, "-R", "-b", "boot.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", root)
	out := newConsole()
	start(t, machine.Config{
		Accel: "jit", Memory: 128 << 20, Firmware: bios,
		Disks:  []machine.Disk{disk(t, name+",if=ahci,media=cdrom")},
		Serial: [4]machine.Serial{{Out: out}},
	}, out)()
	expectText(t, out.String(), "GRUB has started", "a file on the disc")
}

// expectText reports which of the words a console lacks.
func expectText(t *testing.T, text string, words ...string) {
	t.Helper()
	var o output
	o.WriteString(text)
	o.expect(t, words...)
}
