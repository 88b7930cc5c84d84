package mlx

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"
)

// DeviceType is CPU or GPU, in the numbers of mlx-c.
type DeviceType int32

// The types of devices.
const (
	CPU DeviceType = iota
	GPU
)

func (t DeviceType) String() string {
	if t == GPU {
		return "gpu"
	}
	return "cpu"
}

// Device is what MLX computes on.
type Device struct {
	Type         DeviceType
	Index        int
	Name         string // "Apple M2", "NVIDIA H100 80GB HBM3", a CPU's model name
	Architecture string // "applegpu_g14g", "sm_90", "x86_64"
	// Memory is the device's memory in bytes, 0 where MLX doesn't say.
	Memory uint64
	// MaxWorkingSet is how much of it Metal recommends to use, 0 elsewhere.
	MaxWorkingSet uint64
}

// String is the device's name with its type and index: "NVIDIA H100 (gpu:0)".
func (d Device) String() string { return fmt.Sprintf("%s (%s:%d)", d.Name, d.Type, d.Index) }

// Stream is a queue of work on a device. Streams are made once and live as long
// as the process.
type Stream struct {
	ctx    uintptr
	device Device
}

// Device is the device that the stream's work runs on.
func (s Stream) Device() Device { return s.device }

// Devices lists all devices, GPUs first.
func (l *Library) Devices() []Device { return slices.Clone(l.devices) }

// GPU is the first GPU, or the zero Device if there is none (see [Library.HasGPU]).
func (l *Library) GPU() Device { return l.first(GPU) }

// CPU is the host's processor.
func (l *Library) CPU() Device { return l.first(CPU) }

func (l *Library) first(t DeviceType) Device {
	for _, d := range l.devices {
		if d.Type == t {
			return d
		}
	}
	return Device{}
}

// HasGPU says whether MLX can compute on a GPU here.
func (l *Library) HasGPU() bool { return l.first(GPU).Type == GPU }

// Metal says whether the GPU is Apple's.
func (l *Library) Metal() bool { return l.metal }

// CUDA says whether the GPU is NVIDIA's.
func (l *Library) CUDA() bool { return l.cuda }

// NewStream makes a stream on a device.
func (l *Library) NewStream(d Device) (s Stream, err error) {
	if !slices.ContainsFunc(l.devices, func(e Device) bool { return e.Type == d.Type && e.Index == d.Index }) {
		return s, fmt.Errorf("mlx stream on %s: there is no such device, only %v", d, l.devices)
	}
	l.Do(func() {
		device := callC(l.fns[fnDeviceNewType], uintptr(d.Type), uintptr(d.Index))
		if device != 0 {
			s = Stream{ctx: callC(l.fns[fnStreamNewDevice], device), device: d}
			callC(l.fns[fnDeviceFree], device)
		}
		if s.ctx == 0 {
			err = fmt.Errorf("mlx stream on %s: %s", d, takeMessage("stream"))
		}
	})
	return s, err
}

// Synchronize waits until all work given to the stream is done.
func (l *Library) Synchronize(s Stream) (err error) {
	l.Do(func() {
		if rc := callC(l.fns[fnSynchronize], s.ctx); int32(rc) != 0 {
			err = &Error{Op: "synchronize", Message: takeMessage("synchronize")}
		}
	})
	return err
}

// readDevices fills in what Devices and the like report.
func (l *Library) readDevices() error {
	available := new(bool)
	for f, dst := range map[fn]*bool{fnMetalIsAvailable: &l.metal, fnCudaIsAvailable: &l.cuda} {
		if rc := callC(l.fns[f], uintptr(unsafe.Pointer(available))); int32(rc) != 0 {
			return errors.New(takeMessage(opName(f)))
		}
		*dst = *available
	}
	count := new(int32)
	for _, t := range []DeviceType{GPU, CPU} {
		if rc := callC(l.fns[fnDeviceCount], uintptr(unsafe.Pointer(count)), uintptr(t)); int32(rc) != 0 {
			return fmt.Errorf("count devices: %s", takeMessage("device_count"))
		}
		n := int(*count)
		if t == GPU && !l.metal && !l.cuda {
			n = 0
		}
		for i := range n {
			l.devices = append(l.devices, l.describe(t, i))
		}
	}
	device := callC(l.fns[fnDeviceNewType], uintptr(CPU), 0)
	l.cpuStream = callC(l.fns[fnStreamNewDevice], device)
	callC(l.fns[fnDeviceFree], device)
	if l.cpuStream == 0 {
		return fmt.Errorf("make a stream on the CPU: %s", takeMessage("stream"))
	}
	return nil
}

// describe asks for a device's properties. What MLX can't tell stays empty.
func (l *Library) describe(t DeviceType, index int) Device {
	d := Device{Type: t, Index: index, Name: t.String()}
	device := callC(l.fns[fnDeviceNewType], uintptr(t), uintptr(index))
	if device == 0 {
		return d
	}
	defer callC(l.fns[fnDeviceFree], device)
	info := new(uintptr)
	*info = callC(l.fns[fnDeviceInfoNew])
	if rc := callC(l.fns[fnDeviceInfoGet], uintptr(unsafe.Pointer(info)), device); int32(rc) == 0 {
		if name := l.infoString(*info, "device_name"); name != "" {
			d.Name = name
		}
		d.Architecture = l.infoString(*info, "architecture")
		d.Memory = max(l.infoSize(*info, "memory_size"), l.infoSize(*info, "total_memory"))
		d.MaxWorkingSet = l.infoSize(*info, "max_recommended_working_set_size")
	}
	lastMessage = ""
	callC(l.fns[fnDeviceInfoFree], *info)
	return d
}

func (l *Library) infoString(info uintptr, key string) string {
	value, k := new(uintptr), cString(key)
	rc := callC(l.fns[fnDeviceInfoGetString], uintptr(unsafe.Pointer(value)), info, uintptr(unsafe.Pointer(k)))
	if int32(rc) != 0 {
		return ""
	}
	return goString(*value)
}

func (l *Library) infoSize(info uintptr, key string) uint64 {
	value, k := new(uint64), cString(key)
	rc := callC(l.fns[fnDeviceInfoGetSize], uintptr(unsafe.Pointer(value)), info, uintptr(unsafe.Pointer(k)))
	if int32(rc) != 0 {
		return 0
	}
	return *value
}
