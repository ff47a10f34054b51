package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"dfemu/images"
)

// Rows of devices, which are measured only where they are asked for.
const (
	rowDisk = "disk"
	rowNet  = "net"
)

// Devices says which devices are measured in the rows of disks and networks. The guest there is [Config].Kernel with
// an initial RAM disk that has drivers; see [NewDriverGuest].
type Devices struct {
	Disks []string // of [Disks]
	NICs  []string // of [NICs]
	// Cache is the cache mode of the disks' images on both monitors, of [Caches].
	Cache string
	// Dir is where the images are made; "" means the usual folder for temporary files.
	Dir string
}

// Caches returns the cache modes: through the host's page cache, or past it.
func Caches() []string { return []string{"writeback", "none"} }

// imageSize is the size of each disk's image, in bytes.
const imageSize = 256 << 20

// diskModel is a drive that is measured.
type diskModel struct{ name, title, qemu string }

var diskModels = []diskModel{
	{"virtio", "virtio-blk", "virtio-blk-pci,drive=virtio"},
	{"ahci", "AHCI", "ide-hd,drive=ahci,bus=ide.0"},
	{"nvme", "NVMe", "nvme,drive=nvme,serial=dfemu"},
}

// diskLoads are what each drive is measured with: what the guest program calls it, and for people.
var diskLoads = []struct {
	name, title string
	bytes       float64 // of a request that is told by its bytes; otherwise requests are counted
}{
	{"randread-1", "4 KiB random read, depth 1", 0},
	{"randread-32", "4 KiB random read, depth 32", 0},
	{"randwrite-1", "4 KiB random write, depth 1", 0},
	{"randwrite-32", "4 KiB random write, depth 32", 0},
	{"read", "1 MiB sequential read, depth 4", 1 << 20},
	{"write", "1 MiB sequential write, depth 4", 1 << 20},
}

// Disks returns the names of the drives.
func Disks() (names []string) {
	for _, d := range diskModels {
		names = append(names, d.name)
	}
	return names
}

// nicModel is a NIC that is measured, with its back end. Its number, counted from 1, is in its addresses: see the guest
// program.
type nicModel struct {
	name, title  string
	model, qemu  string
	tap          bool
	ownInterface string
}

var nicModels = []nicModel{
	{"virtio-tap", "virtio-net, tap", "virtio", "virtio-net-pci", true, "dfbench1"},
	{"virtio-user", "virtio-net, user", "virtio", "virtio-net-pci", false, ""},
	{"e1000e-tap", "e1000e, tap", "e1000e", "e1000e", true, "dfbench3"},
	{"e1000e-user", "e1000e, user", "e1000e", "e1000e", false, ""},
}

// NICs returns the names of the NICs with their back ends.
func NICs() (names []string) {
	for _, n := range nicModels {
		names = append(names, n.name)
	}
	return names
}

// checkDevices refuses devices that there are not.
func (c *Config) checkDevices() error {
	for _, list := range []struct {
		row        string
		names, all []string
	}{{rowDisk, c.Devices.Disks, Disks()}, {rowNet, c.Devices.NICs, NICs()}} {
		if !slices.Contains(c.Rows, list.row) {
			continue
		}
		if len(list.names) == 0 {
			return fmt.Errorf("row %s: no device to measure", list.row)
		}
		for _, n := range list.names {
			if !slices.Contains(list.all, n) {
				return fmt.Errorf("row %s: device %q: must be of %s", list.row, n, strings.Join(list.all, ", "))
			}
		}
	}
	if slices.Contains(c.Rows, rowDisk) && !slices.Contains(Caches(), c.Devices.Cache) {
		return fmt.Errorf("row %s: cache mode %q: must be of %s", rowDisk, c.Devices.Cache, strings.Join(Caches(), ", "))
	}
	return nil
}

// makeImages writes an image for each disk, full of data that is not all zeroes, into a folder that the caller removes.
func (r *run) makeImages() (dir string, err error) {
	if dir, err = os.MkdirTemp(r.c.Devices.Dir, "dfemu-bench-disks-*"); err != nil {
		return "", err
	}
	// Of the size in which guests write: the host keeps what is written in one go together in its page cache, and then
	// small writes into that are slow.
	data := bytes.Repeat([]byte("dfemu. \n"), 512)
	for _, name := range r.c.Devices.Disks {
		if err := writeImage(filepath.Join(dir, name), data, r.c.Devices.Cache == "none"); err != nil {
			return "", errors.Join(err, os.RemoveAll(dir))
		}
	}
	return dir, nil
}

// writeImage writes an image. For direct I/O nothing of it stays in the host's page cache, so that it is not measured how
// that is cleared of it, block by block.
func writeImage(name string, data []byte, direct bool) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for range imageSize / len(data) {
		if _, err := f.Write(data); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil || !direct {
		return err
	}
	return uncache(f)
}

// disk measures all disks in one guest, with images in dir.
func (r *run) disk(dir string) func(context.Context, subject, int) error {
	return func(ctx context.Context, s subject, cpus int) error {
		for _, d := range diskModels {
			if !slices.Contains(r.c.Devices.Disks, d.name) {
				continue
			}
			file, cache := filepath.Join(dir, d.name), r.c.Devices.Cache
			if s.accel != "" {
				s.args = append(s.args, "--disk="+file+",if="+d.name+",format=raw,cache="+cache)
			} else {
				s.args = append(s.args, "-drive", "if=none,id="+d.name+",file="+file+",format=raw,cache="+cache, "-device", d.qemu)
			}
		}
		p, err := r.start(ctx, s, cpus, r.deviceLine("disk:"+strings.Join(r.c.Devices.Disks, ",")))
		if err != nil {
			return err
		}
		defer p.kill()
		return r.deviceResults(p, s, func() {
			for _, d := range diskModels {
				for _, l := range diskLoads {
					ns, ok := p.results[d.name+"/"+l.name]
					switch {
					case !ok || ns <= 0:
					case l.bytes > 0:
						r.add(rowDisk, d.title+" "+l.title, "MiB/s", cpus, s, l.bytes/(1<<20)*1e9/ns)
					default:
						r.add(rowDisk, d.title+" "+l.title, "IOPS", cpus, s, 1e9/ns)
					}
				}
			}
		})
	}
}

// deviceLine is the kernel's command line.
func (r *run) deviceLine(what string) string {
	return "quiet bench=" + what + " benchtime=" + r.c.Time.String()
}

// deviceResults waits for a guest and has add enter its results, also those that there are beside a failure.
func (r *run) deviceResults(p *process, s subject, add func()) error {
	err := p.wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	add()
	for _, what := range p.still {
		r.remark(fmt.Sprintf("%s: %s", s.name, what))
	}
	if len(p.failed) > 0 {
		err = errors.Join(err, errors.New(strings.Join(p.failed, "; ")))
	}
	return err
}

// nicNumbers are the numbers of the NICs that are to be measured; without tap, of those that do not need it.
func (r *run) nicNumbers(tap bool) (numbers []int) {
	for i, n := range nicModels {
		if slices.Contains(r.c.Devices.NICs, n.name) && (tap || !n.tap) {
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// net measures all NICs in one guest: connections between it and this process, which is in a network namespace of its own
// as far as it may make one.
func (r *run) net(ctx context.Context, s subject, cpus int) error {
	numbers := r.nicNumbers(true)
	err := inNamespace(func() error { return r.netHere(ctx, s, cpus, numbers) })
	if !errors.Is(err, errNoTap) {
		return err
	}
	for _, n := range nicModels {
		if n.tap && slices.Contains(r.c.Devices.NICs, n.name) {
			r.remark(fmt.Sprintf("%s is left out: %v", n.title, err))
		}
	}
	if numbers = r.nicNumbers(false); len(numbers) == 0 {
		return nil
	}
	return r.netHere(ctx, s, cpus, numbers)
}

// netHere measures with the network of the calling thread.
func (r *run) netHere(ctx context.Context, s subject, cpus int, numbers []int) error {
	peer, err := newPeer()
	if err != nil {
		return err
	}
	defer peer.close()
	words := []string{strconv.Itoa(peer.port())}
	var taps []tapEnd
	for _, n := range numbers {
		m := nicModels[n-1]
		words = append(words, strconv.Itoa(n))
		network, mac := fmt.Sprintf("10.9.%d.0/24", n), fmt.Sprintf("52:54:00:00:00:%02x", n)
		if m.tap {
			taps = append(taps, tapEnd{m.ownInterface, [4]byte{10, 9, byte(n), 2}})
		}
		if s.accel != "" {
			back := "user,net=" + network
			if m.tap {
				back = "tap,ifname=" + m.ownInterface
			}
			s.args = append(s.args, "--nic="+back+",queues=1,model="+m.model+",mac="+mac)
			continue
		}
		back := fmt.Sprintf("user,id=n%d,net=%s", n, network)
		if m.tap {
			back = fmt.Sprintf("tap,id=n%d,ifname=%s,script=no,downscript=no", n, m.ownInterface)
		}
		s.args = append(s.args, "-netdev", back, "-device", fmt.Sprintf("%s,netdev=n%d,mac=%s", m.qemu, n, mac))
	}
	p, err := r.start(ctx, s, cpus, r.deviceLine("net:"+strings.Join(words, ",")))
	if err != nil {
		return err
	}
	defer p.kill()
	for _, t := range taps {
		if err := t.configure(p.exited); err != nil {
			p.kill()
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.fail(err.Error())
		}
	}
	return r.deviceResults(p, s, func() {
		for _, n := range numbers {
			for _, direction := range []string{"out", "in"} {
				// One operation is 1 MiB.
				if ns, ok := p.results[fmt.Sprintf("nic%d/%s", n, direction)]; ok && ns > 0 {
					r.add(rowNet, nicModels[n-1].title+", "+direction, "Mbit/s", cpus, s, 8<<20*1e3/ns)
				}
			}
		}
	})
}

// remark notes something about the measurements once.
func (r *run) remark(what string) {
	if !slices.Contains(r.rep.Remarks, what) {
		r.rep.Remarks = append(r.rep.Remarks, what)
	}
}

// driverModules are the drivers of Debian's kernel that the devices need. tests/install-debian unpacks them.
var driverModules = []string{
	"virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk",
	"failover", "net_failover", "virtio_net", "scsi_common", "scsi_mod", "libata", "libahci", "ahci",
	"crct10dif_common", "crc64", "crct10dif-pclmul", "crct10dif_generic", "crc-t10dif", "crc64-rocksoft",
	"crc64_rocksoft_generic", "t10-pi", "sd_mod", "nvme-core", "nvme", "e1000e",
}

// DriverKernel returns Debian's kernel, and the names of the drivers that its guest loads, in order, from the folder
// drivers beside it.
func DriverKernel() (kernel string, drivers []string, err error) {
	guests, err := images.GuestsDir()
	if err != nil {
		return "", nil, err
	}
	dir := filepath.Join(guests, "linux-image-amd64")
	list, err := os.ReadFile(filepath.Join(dir, "drivers", "order"))
	if err != nil {
		return "", nil, fmt.Errorf("a kernel of Debian with its drivers is not there: %w; run tests/install-debian as root", err)
	}
	for name := range strings.FieldsSeq(string(list)) {
		if slices.Contains(driverModules, strings.TrimSuffix(name, ".ko")) {
			drivers = append(drivers, name)
		}
	}
	return filepath.Join(dir, "vmlinuz"), drivers, nil
}
