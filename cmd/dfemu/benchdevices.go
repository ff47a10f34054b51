package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"dfemu/bench"
)

// newBenchDisk is the command that measures disks.
func newBenchDisk() *cobra.Command {
	f := &benchFlags{idle: time.Second} // nothing idles
	c := f.deviceCommand("disk", "measure disks beside QEMU's",
		"Measure disks: 4 KiB random reads and writes, one at a time and 32 under way, and 1 MiB sequential\n"+
			"ones, 4 under way, by direct I/O in Debian's kernel, on image files of the same cache mode.\n"+
			"All drives are in one guest, and are measured one after another.",
		bench.Disks(), func(names []string) { f.devices.Disks, f.guestRows = names, []string{"disk"} })
	c.Example = "  dfemu bench disk --time 500ms\n  dfemu bench disk nvme --cpus 1,2 --cache none --json"
	fl := c.Flags()
	fl.StringVar(&f.devices.Cache, "cache", "writeback", "cache mode of the images, for all subjects: "+strings.Join(bench.Caches(), ", "))
	fl.StringVar(&f.devices.Dir, "dir", "", "folder that the images are made in (default that for temporary files)")
	return c
}

// newBenchNet is the command that measures networks.
func newBenchNet() *cobra.Command {
	f := &benchFlags{idle: time.Second}
	c := f.deviceCommand("net", "measure networks beside QEMU's",
		"Measure networks: one TCP connection between a guest with Debian's kernel and this process, out of the\n"+
			"guest and into it. All NICs are in one guest, and are measured one after another. Those on tap need root:\n"+
			"the measurement makes a network namespace for itself, and leaves them out where it cannot.",
		bench.NICs(), func(names []string) { f.devices.NICs, f.guestRows = names, []string{"net"} })
	c.Example = "  sudo dfemu bench net --rounds 5\n  dfemu bench net virtio-user e1000e-user --json"
	return c
}

// deviceCommand makes a command that measures devices, those that are named or all.
func (f *benchFlags) deviceCommand(use, short, long string, all []string, set func([]string)) *cobra.Command {
	c := &cobra.Command{
		Use:   use + " [DEVICE…]",
		Short: short,
		Long:  long + "\nWithout devices all are measured: " + strings.Join(all, ", ") + ".",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return slices.DeleteFunc(slices.Clone(all), func(r string) bool { return slices.Contains(args, r) }), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(c *cobra.Command, names []string) error {
			for _, n := range names {
				if !slices.Contains(all, n) {
					return usageError{fmt.Errorf("device %q: must be of %s", n, strings.Join(all, ", "))}
				}
			}
			if len(names) == 0 {
				names = all
			}
			if f.devices.Cache != "" && !slices.Contains(bench.Caches(), f.devices.Cache) {
				return usageError{fmt.Errorf("--cache %s: must be %s", f.devices.Cache, strings.Join(bench.Caches(), " or "))}
			}
			f.native = false
			set(names)
			return f.run(c, nil)
		},
	}
	fl := f.register(c, []int{1}, "how long each load is measured")
	fl.StringVar(&f.extra, "append", "", "added to the kernel's command line")
	return c
}

// hasDevices tells whether devices are measured.
func (f *benchFlags) hasDevices() bool { return len(f.devices.Disks)+len(f.devices.NICs) > 0 }
