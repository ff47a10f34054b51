package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mark begins the lines of the guest program.
const mark = "dfemu-bench: "

// process is a subject's run of the guest program, and what its console has
// shown. Times are since it was started.
type process struct {
	cmd     *exec.Cmd
	ctx     context.Context
	cancel  context.CancelFunc
	stdin   io.Closer
	started time.Time
	atInit  chan struct{} // closed when the guest program has started
	exited  chan struct{} // closed when the process has ended
	err     error         // of the process; valid after exited

	kernel, init, end time.Duration
	results           map[string]float64 // nanoseconds of an operation
	order             []string           // of the guest kernel's results
	failed, still     []string
	finished          bool // the program came to its end
	instructions      uint64
	last              []string // lines of the console and of standard error
	mu                sync.Mutex
}

// start runs the guest program. The caller kills the process in the end.
func (r *run) start(ctx context.Context, s subject, cpus int, cmdline string) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, r.c.Timeout)
	p := &process{
		cmd: r.command(ctx, s, cpus, cmdline), ctx: ctx, cancel: cancel,
		atInit: make(chan struct{}), exited: make(chan struct{}), results: map[string]float64{},
	}
	// Standard input stays open and silent: nobody types.
	stdin, err1 := p.cmd.StdinPipe()
	stdout, err2 := p.cmd.StdoutPipe()
	stderr, err3 := p.cmd.StderrPipe()
	if err := errors.Join(err1, err2, err3); err != nil {
		cancel()
		return nil, err
	}
	p.stdin = stdin
	p.started = time.Now()
	if err := p.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	go p.watch(stdout, stderr)
	return p, nil
}

// watch reads what the process says until it ends.
func (p *process) watch(stdout, stderr io.Reader) {
	var readers sync.WaitGroup
	readers.Go(func() { p.lines(stdout, p.console) })
	readers.Go(func() { p.lines(stderr, p.message) })
	readers.Wait()
	p.err = p.cmd.Wait()
	p.end = time.Since(p.started)
	close(p.exited)
}

// lines calls f for each line of r.
func (p *process) lines(r io.Reader, f func(string)) {
	s := bufio.NewScanner(r)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		line := strings.TrimRight(s.Text(), "\r")
		p.mu.Lock()
		if p.last = append(p.last, line); len(p.last) > 12 {
			p.last = p.last[1:]
		}
		f(line)
		p.mu.Unlock()
	}
	// A line that is too long must not stop the process.
	_, _ = io.Copy(io.Discard, r)
}

// console looks at a line of the guest's console; p.mu is held.
func (p *process) console(line string) {
	now := time.Since(p.started)
	if p.kernel == 0 && (strings.Contains(line, "Linux version") || strings.Contains(line, kernelFirst)) {
		p.kernel = now
	}
	if p.init == 0 && strings.Contains(line, kernelPrompt) {
		p.init = now
	}
	if rest, ok := strings.CutPrefix(line, markKernel); ok {
		p.kernelLine(rest)
	}
	i := strings.Index(line, mark)
	if i < 0 {
		return
	}
	words := strings.Fields(line[i+len(mark):])
	switch {
	case len(words) == 0:
	case words[0] == "init" && p.init == 0:
		p.init = now
		close(p.atInit)
	case words[0] == "done":
		p.finished = true
	case words[0] == "result" && len(words) == 4:
		if ns, err := strconv.ParseFloat(words[2], 64); err == nil {
			p.results[words[1]] = ns
		}
	case words[0] == "still" && len(words) == 3:
		p.still = append(p.still, words[1]+" took "+words[2]+" s where a moment is usual")
	case words[0] == "fail":
		p.failed = append(p.failed, strings.Join(words[1:], " "))
	}
}

// message looks at a line of standard error, where this monitor tells how many
// instructions it has executed; p.mu is held.
func (p *process) message(line string) {
	_, rest, _ := strings.Cut(line, "; ")
	number, _, ok := strings.Cut(rest, " instructions")
	if n, err := strconv.ParseUint(number, 10, 64); ok && err == nil {
		p.instructions = n
	}
}

// wait waits for the process to end by itself.
func (p *process) wait() error {
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.ctx.Err() != nil:
		return p.fail("did not finish in time")
	case p.err != nil:
		return p.fail(p.err.Error())
	case !p.finished:
		return p.fail("ended without finishing its work")
	}
	return nil
}

// untilInit waits for the guest program to start.
func (p *process) untilInit() error {
	select {
	case <-p.atInit:
		return nil
	case <-p.exited:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fail("never came to init")
}

// fail makes an error with the last lines that were seen; p.mu is held.
func (p *process) fail(why string) error {
	return fmt.Errorf("%s; last lines:\n\t%s", why, strings.Join(p.last, "\n\t"))
}

// sleep waits while the process runs.
func (p *process) sleep(d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-p.exited:
		return errors.New("the guest ended while it was to be idle")
	}
}

// share returns which part of one core the process uses over a time.
func (p *process) share(d time.Duration) (float64, error) {
	before, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	t := time.Now()
	if err := p.sleep(d); err != nil {
		return 0, err
	}
	after, err := cpuTime(p.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	return float64(after-before) / float64(time.Since(t)), nil
}

// memory returns the memory of the process, which runs a guest of mib MiB.
func (p *process) memory(mib int) (memoryUse, error) { return memoryOf(p.cmd.Process.Pid, mib) }

// kill ends the process, if it still runs, and waits until it is gone.
func (p *process) kill() {
	p.cancel()
	_ = p.stdin.Close()
	<-p.exited
}
