package tests

import (
	"fmt"
	"io"
	"testing"

	"dfemu/devices/network"
	"dfemu/machine"
)

// nic is a network device of the command line's syntax.
func nic(t *testing.T, spec string) network.Options {
	t.Helper()
	o, err := network.ParseNIC(spec)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// netScript uses $NIC behind $DRIVER, on a user network.
const netScript = `
up() { ip link set $1 up; waitfor has 1 cat /sys/class/net/$1/carrier; }
up eth0; up eth1
check virtio-driver has "driver: virtio_net" ethtool -i eth0
check virtio-mac same "$(cat /sys/class/net/eth0/address)" 52:54:00:00:00:01
check virtio-offloads has "tcp-segmentation-offload: on" ethtool -k eth0
check e1000e-driver has "driver: e1000e" ethtool -i eth1
check e1000e-mac same "$(cat /sys/class/net/eth1/address)" 52:54:00:00:00:02
check e1000e-link has "Speed: 1000Mb/s" ethtool eth1
check e1000e-registers has "0x00000: CTRL" ethtool -d eth1
check e1000e-eeprom has "0x0000" ethtool -e eth1 length 16
check e1000e-rings has "RX:" ethtool -g eth1
check e1000e-coalesce has "rx-usecs" ethtool -c eth1
check e1000e-interrupts has "eth1" cat /proc/interrupts
ip addr add 10.0.2.15/24 dev eth0; ip route add default via 10.0.2.2
check virtio-ping ping -c 3 -W 5 10.0.2.2
ip route del default; ip addr del 10.0.2.15/24 dev eth0; ip addr add 10.0.2.15/24 dev eth1
check e1000e-ping ping -c 3 -W 5 10.0.2.2
check e1000e-big-ping ping -c 2 -W 5 -s 1400 10.0.2.2
check e1000e-tso-off ethtool -K eth1 tso off
check e1000e-mtu ip link set eth1 mtu 4000
check e1000e-mtu-back ip link set eth1 mtu 1500
waitfor has 1 cat /sys/class/net/eth1/carrier
check e1000e-ping-again ping -c 3 -W 5 10.0.2.2
check e1000e-self-test has "FAIL|PASS|Register test" ethtool -t eth1 online
check e1000e-statistics has "rx_packets: [1-9]" ethtool -S eth1
check no-hangs fails has "Hardware Unit Hang|transmit queue.*timed out" dmesg
`

// TestDevicesNet has Linux use both models of network devices on user networks.
func TestDevicesNet(t *testing.T) {
	t.Parallel() // it waits most of the time
	g := guest{
		script:   netScript,
		programs: []string{"ip", "ethtool"},
		Config: machine.Config{NICs: []network.Options{
			nic(t, "user,model=virtio,mac=52:54:00:00:00:01"),
			nic(t, "user,model=e1000e,mac=52:54:00:00:00:02"),
		}},
	}
	g.run(t)
}

// pairScripts are the two ends of a wire: a server that ends when it is told to, and a client.
func pairScripts() (server, client string) {
	// The client begins when the server answers: it has an address when it listens (at port 1451h). Who is silent is given up.
	server = `
iperf3 -s -D >/tmp/iperf.log 2>&1
check listens waitfor grep -i -h ':1451 .* 0A ' /proc/net/tcp /proc/net/tcp6
ip link set eth0 up; ip addr add 10.9.0.1/24 dev eth0
while sleep 20; do echo serving; done &
check told-to-end read -r over
`
	client = `
ip link set eth0 up; ip addr add 10.9.0.2/24 dev eth0
check server-there waitfor ping -c 1 -W 1 10.9.0.1
check ping ping -c 3 -W 5 10.9.0.1
check big-ping ping -c 3 -W 5 -s 8000 10.9.0.1
check iperf-up has "receiver" iperf3 -c 10.9.0.1 -t 2
check iperf-down has "receiver" iperf3 -c 10.9.0.1 -t 2 -R
check iperf-udp has "receiver" iperf3 -c 10.9.0.1 -t 1 -u -b 20M
`
	return server, client
}

// pair runs a server and a client at the same time.
func pair(t *testing.T, server, client network.Options, hubs *network.Hubs) {
	t.Helper()
	s, c := pairScripts()
	guests := []*guest{
		{script: s, programs: []string{"ip", "iperf3"}, Config: machine.Config{Memory: 512 << 20, NICs: []network.Options{server}, Hubs: hubs}},
		{script: c, programs: []string{"ip", "iperf3"}, Config: machine.Config{Memory: 512 << 20, NICs: []network.Options{client}, Hubs: hubs}},
	}
	in, over := io.Pipe()
	defer in.Close()
	guests[0].Serial[0].In = in
	var waits []func()
	var outs []*console
	for _, g := range guests {
		config, out := g.config(t)
		waits, outs = append(waits, start(t, config, out)), append(outs, out)
	}
	waits[1]() // the client
	if _, err := fmt.Fprintln(over, "over"); err != nil {
		t.Error(err)
	}
	waits[0]()
	for i, g := range guests {
		g.judge(t, outs[i].String())
	}
}

// TestDevicesHub joins two machines by a hub of this process.
func TestDevicesHub(t *testing.T) {
	pair(t, nic(t, "hub,model=virtio,mac=52:54:00:00:00:01"), nic(t, "hub,model=e1000e,mac=52:54:00:00:00:02"), new(network.Hubs))
}
