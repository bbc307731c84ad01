/* SPDX-License-Identifier: Apache-2.0 */
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86SystemRegisters;
import java.time.Duration;
import java.util.HexFormat;

/**
 * A guest waits for the timer of its LAPIC, writes a line to its serial port at each tick, and rings a doorbell. Needs KVM.
 */
class TimedGuest {
    private static final int START = 0x1000;
    private static final int HANDLER = 0x2000;
    private static final int SERIAL = 0x3f8;
    private static final int DOORBELL = 0x90;
    private static final InterruptVector TICK = new InterruptVector(0x40);

    public static void main(String[] args) throws InterruptedException {
        int ticks = 3;
        StringBuilder console = new StringBuilder();
        try (Kernel kernel = args.length == 0 ? Kernel.open() : Kernel.open(args[0]);
                Vm vm = Vm.create(kernel);
                GuestMemory memory = vm.addMemory(0, 0x10000)) {
            vm.x86().createIrqchip();
            load(memory);
            try (EventFd rung = EventFd.create(kernel);
                    IoEventFd doorbell = vm.assignIoEventFd(IoAddress.port(DOORBELL, 1), rung);
                    Vcpu vcpu = vm.createVcpu(new VcpuId(0))) {
                vcpu.x86().setCpuid(Cpuid.ofHost(kernel).forVcpu(0, 1));
                vcpu.x86().startAt(START, 0x8000);
                startTimer(vcpu);
                Thread runner = new Thread(() -> run(vcpu, console), "vcpu 0");
                runner.start();
                long heard = 0;
                while (heard < ticks && rung.await(Duration.ofSeconds(10))) {
                    heard += rung.drain();
                }
                vcpu.kick(); // the guest halts between ticks
                runner.join();
                System.out.println(console.substring(0, "tick ".length() * ticks).strip());
                System.out.println(doorbell.address().address() + " rung " + ticks + " times");
            }
        }
    }

    /** The vector's entry in the table at 0, the main loop, and the handler. */
    private static void load(GuestMemory memory) {
        memory.mapping().putInt(TICK.number() * Integer.BYTES, HANDLER);
        memory.mapping().put(START, code("fb f4 eb fd")); // sti; hlt; jmp to hlt
        StringBuilder handler = new StringBuilder("6660 66baf8030000"); // pushad; mov $0x3f8, %edx
        for (char letter : "tick ".toCharArray()) {
            handler.append(" b0").append(Integer.toHexString(letter)).append(" ee"); // mov letter, %al; out %al, %dx
        }
        handler.append(" e690"); // the doorbell
        handler.append(" 66b90b080000 6631c0 6631d2 0f30"); // end of interrupt: 0 to MSR 0x80b of the x2APIC
        handler.append(" 6661 cf"); // popad; iret
        memory.mapping().put(HANDLER, code(handler.toString()));
    }

    private static byte[] code(String hex) {
        return HexFormat.of().parseHex(hex.replace(" ", ""));
    }

    private static void startTimer(Vcpu vcpu) {
        X86SystemRegisters system = vcpu.x86().systemRegisters();
        long x2apic = 1 << 10;
        vcpu.x86().setSystemRegisters(
                system.set(X86SystemRegisters.Name.APIC_BASE, system.get(X86SystemRegisters.Name.APIC_BASE) | x2apic));
        X86Lapic lapic = vcpu.x86().lapic();
        int periodic = 1 << 17;
        int enabled = 1 << 8;
        vcpu.x86().setLapic(lapic.set(X86Lapic.Name.SVR, lapic.get(X86Lapic.Name.SVR) | enabled)
                .set(X86Lapic.Name.LVT_TIMER, periodic | TICK.number())
                .set(X86Lapic.Name.TIMER_DIVIDE, 0xb) // by 1
                .set(X86Lapic.Name.TIMER_INITIAL, 10_000_000)); // 10 ms: KVM's LAPIC has 1 GHz
    }

    private static void run(Vcpu vcpu, StringBuilder console) {
        vcpu.moveHere();
        VcpuExit exit = vcpu.run();
        while (exit.reason() == VcpuExit.Reason.IO) {
            if (exit.isWrite() && exit.port() == SERIAL) {
                console.append((char) exit.data());
            }
            exit = vcpu.run();
        }
    }
}
