package tests

import (
	"context"
	"crypto/md5"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"dfemu/images"
	"dfemu/machine"
)

// initScript checks the processors, copies the first MiB of the disk to the
// second and prints what both add up to, and powers off.
const initScript = `
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev 2>/dev/null
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
	[ -f /modules/$m.ko ] && insmod /modules/$m.ko
done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
echo "cpus: $(grep -c ^processor /proc/cpuinfo)"
echo "model: $(grep -m1 'model name' /proc/cpuinfo)"
for f in avx2 fma bmi2 sha_ni aes movbe; do grep -q -w $f /proc/cpuinfo || echo "missing flag: $f"; done
echo "serial: $(cat /sys/block/vda/serial)"
echo "read: $(dd if=/dev/vda bs=64k count=16 2>/dev/null | md5sum | cut -c1-32)"
dd if=/dev/vda of=/dev/vda bs=64k count=16 seek=16 conv=fsync 2>/dev/null
echo "copied: $(dd if=/dev/vda bs=64k skip=16 count=16 2>/dev/null | md5sum | cut -c1-32)"
echo "guest is done"
poweroff -f
`

// linuxKernels are real kernels, the module files each needs for its disk, and
// where it comes from.
func linuxKernels(t *testing.T) map[string]func(t *testing.T) (kernel string, modules []string) {
	debian := func(name string) func(t *testing.T) (string, []string) {
		return func(t *testing.T) (string, []string) {
			dir, err := images.GuestsDir()
			if err != nil {
				t.Skip(err)
			}
			kernel := need(t, filepath.Join(dir, name, "vmlinuz"), installRemedy)
			modules, err := filepath.Glob(filepath.Join(dir, name, "modules", "*.ko"))
			if err != nil || len(modules) == 0 {
				t.Fatalf("%s has no modules: %v", name, err)
			}
			return kernel, modules
		}
	}
	return map[string]func(t *testing.T) (string, []string){
		"gokrazy": func(t *testing.T) (string, []string) {
			kernel, err := images.LinuxKernel(context.Background())
			if err != nil {
				t.Skipf("the kernel's module cannot be had: %v", err)
			}
			return kernel, nil
		},
		"debian-cloud": debian("linux-image-cloud-amd64"),
		"debian":       debian("linux-image-amd64"),
	}
}

// TestLinux boots real kernels from their bzImage to an init which looks at
// the processors, reads and writes a disk, and powers off.
func TestLinux(t *testing.T) {
	if testing.Short() {
		t.Skip("boots whole guests")
	}
	for name, get := range linuxKernels(t) {
		eachCPU(t, func(t *testing.T, accel string, cpus int) {
			t.Run(name, func(t *testing.T) {
				kernel, modules := get(t)
				disk, sum := randomDisk(t, 4<<20)
				var out output
				o := boot(t, machine.Config{
					Accel: accel, CPUs: cpus, Memory: 512 << 20,
					Kernel: kernel, Initrd: initramfs(t, initScript, modules),
					Cmdline: "console=ttyS0 panic=-1",
					Disks:   []machine.Disk{{File: disk, Serial: "DFEMU-0001"}},
					Serial:  [4]machine.Serial{{Out: &out}},
				})
				if o.Cause != machine.PoweredOff {
					t.Errorf("ended with %v %s, want powered off", o.Cause, o.Detail)
				}
				out.expect(t, fmt.Sprintf("cpus: %d", cpus), "serial: DFEMU-0001",
					"read: "+sum, "copied: "+sum, "guest is done")
				if strings.Contains(out.String(), "missing flag") {
					t.Errorf("the guest misses processor features:\n%s", out.String())
				}
				data, err := os.ReadFile(disk)
				if err != nil {
					t.Fatal(err)
				}
				if got := fmt.Sprintf("%x", md5.Sum(data[1<<20:2<<20])); got != sum {
					t.Errorf("second MiB of the image has sum %s, want %s", got, sum)
				}
			})
		})
	}
}

// eachCPU runs a test with each software CPU of this host, with one and with two processors.
func eachCPU(t *testing.T, f func(t *testing.T, accel string, cpus int)) {
	accels := []string{"interp"}
	if runtime.GOARCH == "amd64" && runtime.GOOS == "linux" {
		accels = append(accels, "jit")
	}
	for _, accel := range accels {
		for _, cpus := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s/%dcpu", accel, cpus), func(t *testing.T) { f(t, accel, cpus) })
		}
	}
}

// randomDisk makes an image of size bytes and returns its name and the MD5 sum of
// its first MiB.
func randomDisk(t *testing.T, size int) (name, sum string) {
	t.Helper()
	data := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(data)
	name = filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, fmt.Sprintf("%x", md5.Sum(data[:1<<20]))
}

// boot runs a machine to its end.
func boot(t *testing.T, cfg machine.Config) machine.Outcome {
	t.Helper()
	cfg.NoReboot = true
	if cfg.Logf == nil && testing.Verbose() {
		cfg.Logf = t.Logf
	}
	m, err := machine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	o, err := m.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
