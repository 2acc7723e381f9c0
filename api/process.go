package api

import "github.com/prometheus/procfs"

// What every program tells Prometheus of itself, by the names that its own
// libraries give it.
var (
	metricCPU      = &metric{"process_cpu_seconds_total", "Time spent in user and kernel mode, in seconds.", nil}
	metricStarted  = &metric{"process_start_time_seconds", "When the process started, in Unix seconds.", nil}
	metricVirtual  = &metric{"process_virtual_memory_bytes", "Virtual memory.", nil}
	metricResident = &metric{"process_resident_memory_bytes", "Resident memory.", nil}
	metricFiles    = &metric{"process_open_fds", "Open file descriptors.", nil}
	metricMaxFiles = &metric{"process_max_fds", "How many file descriptors may be open.", nil}
)

// process emits what /proc says of this process; what it does not, is left out.
func process(e emitter) {
	self, err := procfs.Self()
	if err != nil {
		return
	}
	if s, err := self.Stat(); err == nil {
		e.count(metricCPU, s.CPUTime())
		e.gauge(metricVirtual, float64(s.VirtualMemory()))
		e.gauge(metricResident, float64(s.ResidentMemory()))
		if started, err := s.StartTime(); err == nil {
			e.gauge(metricStarted, started)
		}
	}
	if n, err := self.FileDescriptorsLen(); err == nil {
		e.gauge(metricFiles, float64(n))
	}
	if l, err := self.Limits(); err == nil {
		e.gauge(metricMaxFiles, float64(l.OpenFiles))
	}
}
