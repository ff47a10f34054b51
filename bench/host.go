package bench

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Host is the machine that the measurements were made on.
type Host struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// ThisHost describes this machine, as far as it can be found out.
func ThisHost() Host {
	h := Host{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	if p, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		h.Kernel = strings.TrimSpace(string(p))
	}
	if p, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if model := field(p, "model name\t: "); model != "" {
			h.CPU = model
		}
	}
	return h
}

// field returns what follows a word at the beginning of a line.
func field(p []byte, word string) string {
	for line := range strings.Lines(string(p)) {
		if rest, ok := strings.CutPrefix(line, word); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// userHZ is the unit of /proc/PID/stat, a part of Linux's interface.
const userHZ = 100

// cpuTime returns the processor time that a process has used (proc(5), stat).
// Its resolution is 10 ms.
func cpuTime(pid int) (time.Duration, error) {
	p, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	// The name of the program is in parentheses and may contain anything.
	f := bytes.Fields(p[bytes.LastIndexByte(p, ')')+1:])
	const utime, stime = 14 - 3, 15 - 3
	if len(f) <= stime {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(f)+2)
	}
	u, err1 := strconv.ParseUint(string(f[utime]), 10, 64)
	s, err2 := strconv.ParseUint(string(f[stime]), 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("/proc/%d/stat: times %q and %q", pid, f[utime], f[stime])
	}
	return time.Duration(u+s) * time.Second / userHZ, nil
}

// memoryUse is the memory of a process in bytes.
type memoryUse struct {
	peak  int64 // most that was resident at a time (VmHWM)
	guest int64 // resident now, in the mappings that are guest memory
}

// memoryOf returns the memory of a process that runs a guest of mib MiB. Guest
// memory is told by its size: a mapping as large as all of it, or, when it is
// in two because of the hole below 4 GiB, at least half of it or 1 GiB.
// Pages of a guest are never given back here, so that what is resident now was
// so at the peak.
func memoryOf(pid, mib int) (memoryUse, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memoryUse{}, err
	}
	var m memoryUse
	if m.peak, err = kilobytes(field(status, "VmHWM:")); err != nil {
		return m, err
	}
	smaps, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps", pid))
	if err != nil {
		return m, err
	}
	m.guest, err = guestMemory(smaps, mib)
	return m, err
}

// guestMemory adds up what is resident of the mappings that are guest memory.
func guestMemory(smaps []byte, mib int) (int64, error) {
	least := int64(mib) << 20
	if mib > 2048 {
		least = min(least/2, 1<<30)
	}
	var total, size int64
	s := bufio.NewScanner(bytes.NewReader(smaps))
	for s.Scan() {
		var err error
		if v, ok := strings.CutPrefix(s.Text(), "Size:"); ok {
			size, err = kilobytes(v)
		} else if v, ok := strings.CutPrefix(s.Text(), "Rss:"); ok && size >= least {
			var rss int64
			rss, err = kilobytes(v)
			total += rss
		}
		if err != nil {
			return 0, err
		}
	}
	return total, s.Err()
}

// kilobytes reads a value like "123 kB".
func kilobytes(s string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(s), "kB")), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("size %q: must be in kB", s)
	}
	return n << 10, nil
}
