// Reads a device with os.File, writes it, and maps it; a static binary without a C library.
package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	file, problem := os.OpenFile("/dev/mem", os.O_RDWR, 0)
	if problem != nil {
		fmt.Println(problem)
		os.Exit(1)
	}
	text := make([]byte, 5)
	_, problem = file.ReadAt(text, 0x1000)
	fmt.Println(string(text), problem)
	_, problem = file.WriteAt([]byte("HE"), 0x1000)
	fmt.Println(problem)
	page, problem := syscall.Mmap(int(file.Fd()), 0x1000, 4096,
		syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if problem != nil {
		fmt.Println(problem)
		os.Exit(1)
	}
	fmt.Println(string(page[:5]))
}
