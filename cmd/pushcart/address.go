package main

import (
	"net"
	"strconv"
)

// advertised is where others find a listener. One that listens everywhere is found at
// the address of a network interface.
func advertised(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if of, ok := a.(*net.IPNet); ok && of.IP.IsGlobalUnicast() {
			return net.JoinHostPort(of.IP.String(), strconv.Itoa(tcp.Port))
		}
	}
	return addr.String()
}
