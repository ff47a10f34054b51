// Command guest is what the benchmark runs inside a machine: as the guest's
// init (process 1) it does what the kernel's command line asks for by bench=…,
// prints the results in lines that begin with the mark, and switches the guest
// off. On the host it does the same work for comparison.
//
// The word of bench= is
//
//	boot          print "init" and leave
//	idle          print "init" and wait for a line of input that never comes
//	work:A,B,…    measure the workloads A, B, …; without names, all of them
//	disk:A,B,…    measure the drives A, B, …
//	net:PORT,N,…  measure connections to a port of the host through the NICs N, …
//
// of which the last two print also what stood still and for how many seconds,
// and benchtime= is how long each workload is measured, as time.ParseDuration
// reads it.
package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// mark begins every line that is meant for the benchmark.
const mark = "dfemu-bench: "

func main() {
	// A console that is in the middle of a kernel message is left first.
	say("\n" + mark + "init")
	what, names, _ := strings.Cut(os.Getenv("bench"), ":")
	switch what {
	case "idle":
		var line [1]byte
		for {
			if n, err := os.Stdin.Read(line[:]); n == 0 || err != nil {
				break
			}
		}
	case "work":
		var list []string
		if names != "" {
			list = strings.Split(names, ",")
		}
		work(list, benchtime())
	case "disk", "net":
		r := reporter{benchtime()}
		if err := loadDrivers(); err != nil {
			r.fail(what, err)
		} else if list := strings.Split(names, ","); what == "disk" {
			disks(list, r)
		} else {
			networks(list, r)
		}
	}
	say(mark + "done")
	if os.Getpid() == 1 {
		off()
	}
}

// benchtime is how long a workload is measured.
func benchtime() time.Duration {
	d, err := time.ParseDuration(os.Getenv("benchtime"))
	if err != nil || d <= 0 {
		return time.Second
	}
	return d
}

// work measures the workloads that are named, or all.
func work(names []string, d time.Duration) {
	if os.Getpid() == 1 {
		prepare()
	}
	for _, w := range workloads {
		if len(names) > 0 && !contains(names, w.name) {
			continue
		}
		if w.supported != nil && !w.supported() {
			say(mark + "skip " + w.name)
			continue
		}
		run, stop, err := w.setup()
		if err != nil {
			reporter{d}.fail(w.name, err)
			continue
		}
		ns, n := measure(run, d)
		if stop != nil {
			stop()
		}
		reporter{d}.result(w.name, ns, n)
	}
}

// reporter measures for a time and prints what came of it.
type reporter struct{ d time.Duration }

func (r reporter) result(name string, ns float64, n int) {
	say(fmt.Sprintf("%sresult %s %.3f %d", mark, name, ns, n))
}

func (r reporter) fail(name string, err error) {
	say(mark + "fail " + name + " " + strings.ReplaceAll(err.Error(), "\n", " "))
}

// parts is how many times operations of devices are measured: the median is reported, and what stood still is told.
const parts = 5

// still is how long a part must at least take to count as standing still, besides taking ten times the median.
const still = time.Second

// measure is for operations of devices, which may fail, after which no more of them are done.
func (r reporter) measure(name string, run func(n int) error) {
	var err error
	part := r.d / parts
	once := func(n int) {
		if err == nil {
			err = run(n)
		}
		if err != nil {
			time.Sleep(part)
		}
	}
	// What is slow for the first time (code that is not translated yet, addresses that are not known) must not decide how
	// much is done at a time.
	measure(once, part)
	_, n := measure(once, part)
	took := make([]time.Duration, parts)
	for i := range took {
		t := time.Now()
		once(n)
		took[i] = time.Since(t)
	}
	if err != nil {
		r.fail(name, err)
		return
	}
	slices.Sort(took)
	median, most := took[parts/2], took[parts-1]
	r.result(name, float64(median.Nanoseconds())/float64(n), n*parts)
	if most > still && most > 10*median {
		say(fmt.Sprintf("%sstill %s %.0f", mark, name, most.Seconds()))
	}
}

// measure runs more and more operations at a time, first as a warm-up and then
// until they take d, and returns the nanoseconds of one, and how many they were.
func measure(run func(n int), d time.Duration) (nsPerOp float64, ops int) {
	for n := 1; ; {
		t := time.Now()
		run(n)
		took := time.Since(t)
		if took >= d {
			return float64(took.Nanoseconds()) / float64(n), n
		}
		// What is missing to d and a fifth more, but at most a hundred times as many.
		per := max(took.Nanoseconds()/int64(n), 1)
		next := int(d.Nanoseconds() / per * 6 / 5)
		n = min(max(next, n+1), 100*n)
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// say prints one line with one write, so that nothing gets in between.
func say(line string) {
	var b bytes.Buffer
	b.WriteString(line)
	b.WriteByte('\n')
	_, _ = os.Stdout.Write(b.Bytes())
}

// prepare mounts what a workload may want.
func prepare() {
	_ = os.Mkdir("/proc", 0o755)
	_ = syscall.Mount("proc", "/proc", "proc", 0, "")
}

// off switches the guest off; the console's output is out by then, as its
// driver waits for it.
func off() {
	syscall.Sync()
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF); err != nil {
		say(mark + "fail poweroff " + err.Error())
	}
	select {}
}
