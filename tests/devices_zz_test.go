package tests
import ("testing";"dfemu/machine")
func TestZZ(t *testing.T){
	var n string
	g := guest{script:"ask plug e1000e; waitfor test -e /sys/class/net/eth0; dmesg -c >/dev/null; ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; waitfor ping -c 1 -W 1 10.0.2.2; ask unplug x; sleep 10; dmesg; ls /sys/class/net; ps | grep -i -E 'irq|kwork.*pci|ip|ping'; for p in /proc/[0-9]*; do case $(cat $p/stat) in *' D '*) cat $p/comm $p/stack;; esac; done", programs: []string{"ip"}, Config:machine.Config{}}
	g.runAsking(t, func(c *machine.Control, words []string) (e error) { if words[0]=="plug" { n, e = c.PlugNIC(nic(t, "user,model="+words[1])); return e}; t.Error("show"); return c.Unplug(n, false)})
	_ = 1
	println(n)
}
