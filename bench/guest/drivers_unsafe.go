//go:build linux

package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// The kernel copies a module before the system call returns.

// driverParameters are what modules are loaded with. A controller that forgets a command is reset after twice the time-out,
// in seconds: then a measurement that stands still goes on soon.
var driverParameters = map[string]string{"nvme-core.ko": "io_timeout=2"}

// loadDrivers mounts what drivers show themselves in, and loads the modules of /drivers in the order of the file there.
func loadDrivers() error {
	prepare()
	for _, m := range []struct{ what, where string }{{"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		_ = os.Mkdir(m.where, 0o755)
		if err := syscall.Mount(m.what, m.where, m.what, 0, ""); err != nil && err != syscall.EBUSY {
			return fmt.Errorf("mount %s: %w", m.what, err)
		}
	}
	order, err := os.ReadFile("/drivers/order")
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(order)) {
		p, err := os.ReadFile("/drivers/" + name)
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return fmt.Errorf("driver %s is empty", name)
		}
		parameters := append([]byte(driverParameters[name]), 0)
		_, _, errno := syscall.Syscall(syscall.SYS_INIT_MODULE, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(unsafe.Pointer(&parameters[0])))
		// Some drivers refuse processors that lack an instruction; others do the same work.
		if errno != 0 && errno != syscall.EEXIST && errno != syscall.ENODEV {
			return fmt.Errorf("load driver %s: %w", name, errno)
		}
	}
	return nil
}

// appears waits for a device's node.
func appears(node string) error {
	for range 500 {
		if _, err := os.Stat(node); err == nil {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s does not appear", node)
}
