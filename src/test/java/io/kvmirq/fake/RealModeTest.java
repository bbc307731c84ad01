/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.fake;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import io.kvmirq.InterruptVector;
import io.kvmirq.MsiMessage;
import io.kvmirq.NotModelledException;
import io.kvmirq.Route;
import io.kvmirq.VcpuId;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86Pic;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.kvm.X86Registers.Name;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.testing.Kernels;
import io.kvmirq.uapi.Uapi;
import io.kvmirq.undo.Undo;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.assertj.core.api.SoftAssertions;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The instructions that guests of the fake know do what they do on KVM. */
class RealModeTest {
    private static final int MEMORY = 0xf000;
    private static final int START = 0x1000;
    /** Where the guest has data: 0, 1, 2 and so on. */
    private static final int DATA = 0x2000;

    private static final int STACK = 0x8000;
    private static final int PORT = 0x82;
    /** out %al, $PORT; hlt. */
    private static final String END = "e682f4";

    private static final Name[] SHOWN = {
        Name.RAX, Name.RBX, Name.RCX, Name.RDX, Name.RSI, Name.RDI, Name.RBP, Name.RSP, Name.RFLAGS
    };

    private final Undo made = new Undo();
    private Vcpu vcpu;
    private Mapping memory;
    private X86SystemRegisters system;

    @AfterEach
    void close() {
        made.close();
    }

    private void open(Kernel kernel) {
        Vm vm = made.add(Vm.create(made.add(kernel)));
        memory = made.add(vm.addMemory(0, MEMORY)).mapping();
        vcpu = made.add(vm.createVcpu(new VcpuId(0)));
        vcpu.x86().startAt(START, STACK);
        system = vcpu.x86().systemRegisters();
    }

    private static X86Registers registers() {
        return new X86Registers()
                .set(Name.RIP, START)
                .set(Name.RSP, STACK)
                .set(Name.RAX, 0x1234_80ff)
                .set(Name.RBX, DATA)
                .set(Name.RCX, 0x3)
                .set(Name.RDX, 0x8000_0382L)
                .set(Name.RSI, 0x10)
                .set(Name.RDI, 0x20)
                .set(Name.RBP, DATA + 0x80);
    }

    private void put(String code) {
        for (int i = 0; i < 0x100; i++) {
            memory.putByte(DATA + i, (byte) i);
        }
        memory.put(START, HexFormat.of().parseHex(code.replace(" ", "") + END));
    }

    /** What the code changed: registers, flags but for those to ignore, and bytes of data and stack. */
    private String change(String code, int ignoredFlags) {
        put(code);
        byte[] data = bytes(DATA, 0x100);
        byte[] stack = new byte[0x40];
        memory.put(STACK - stack.length, stack);
        vcpu.x86().setSystemRegisters(system);
        vcpu.x86().setRegisters(registers());
        StringBuilder text = new StringBuilder();
        VcpuExit exit = vcpu.run();
        while (exit.reason() != VcpuExit.Reason.IO || exit.port() != PORT) {
            text.append(text.isEmpty() ? "" : "; ").append(exit.reason() == VcpuExit.Reason.HLT ? "HLT" : exit);
            if (exit.reason() == VcpuExit.Reason.IO || exit.reason() == VcpuExit.Reason.MMIO) {
                if (exit.isWrite()) {
                    text.append(" 0x").append(Long.toHexString(exit.data()));
                } else {
                    exit.answer(0x8765_4321);
                }
            }
            exit = vcpu.run();
        }
        List<String> changes = new ArrayList<>();
        X86Registers before = registers();
        X86Registers after = vcpu.x86().registers();
        for (Name name : SHOWN) {
            long ignored = name == Name.RFLAGS ? ignoredFlags : 0;
            long value = after.get(name) & ~ignored;
            if (value != (before.get(name) & ~ignored)) {
                changes.add(name + "=" + Long.toHexString(value));
            }
        }
        changed(changes, DATA, data);
        changed(changes, STACK - stack.length, stack);
        return (text + (text.isEmpty() ? "" : "; ") + String.join(" ", changes)).strip();
    }

    private byte[] bytes(int at, int length) {
        byte[] bytes = new byte[length];
        for (int i = 0; i < length; i++) {
            bytes[i] = memory.getByte(at + i);
        }
        return bytes;
    }

    private void changed(List<String> changes, int at, byte[] before) {
        for (int i = 0; i < before.length; i++) {
            byte now = memory.getByte(at + i);
            if (now != before[i]) {
                changes.add("%x:%02x".formatted(at + i, now));
            }
        }
    }

    /** Code, the flags that the manual leaves undefined after it, and the change. RDX is 0x80000382, RAX 0x123480ff. */
    private static final String ROWS = """
            b83412                              |     | RAX=12341234
            b4 12                               |     | RAX=123412ff
            66 b8 78563412                      |     | RAX=12345678
            88 e3                               |     | RBX=2080
            89 c3                               |     | RBX=80ff
            66 89 d1                            |     | RCX=80000382
            89 06 1020                          |     | 2010:ff 2011:80
            0206 0320                           |     | RAX=12348002 RFLAGS=13
            c606 0020 aa                        |     | 2000:aa
            c706 0220 bbaa                      |     | 2002:bb 2003:aa
            66 c706 0020 ddccbbaa               |     | 2000:dd 2001:cc 2002:bb 2003:aa
            0006 0020                           |     | RFLAGS=86 2000:ff
            3806 0020                           |     | RFLAGS=13
            66 812e 0020 00000001               |     | RFLAGS=6 2003:02
            2006 0020                           | 10  | RFLAGS=46
            8036 0020 ff                        | 10  | RFLAGS=86 2000:ff
            ff06 0020                           |     | 2000:01
            ff0e 0020                           |     | RFLAGS=16 2000:ff 2001:00
            66 ff84 f01f                        |     | 2000:01
            8c c8                               |     | RAX=12340000
            b8fe01 8ed0 31c0 8cd0               | 10  | RAX=123401fe RFLAGS=46
            b8fe01 8ed0 bc0020 50               |     | RAX=123401fe RSP=1ffe
            a0 0320                             |     | RAX=12348003
            66 a1 0420                          |     | RAX=7060504
            a2 0320                             |     | 2003:ff
            66 a3 0420                          |     | 2004:ff 2005:80 2006:34 2007:12
            01 c8                               |     | RAX=12348102 RFLAGS=92
            66 05 01000000                      |     | RAX=12348100 RFLAGS=16
            04 01                               |     | RAX=12348000 RFLAGS=57
            05 0180                             |     | RAX=12340100 RFLAGS=817
            83 c0 01                            |     | RAX=12348100 RFLAGS=96
            80 c4 80                            |     | RAX=123400ff RFLAGS=847
            29 c8                               |     | RAX=123480fc RFLAGS=86
            66 29 d0                            |     | RAX=92347d7d RFLAGS=887
            2c ff                               |     | RAX=12348000 RFLAGS=46
            3d ff80                             |     | RFLAGS=46
            39 c8                               |     | RFLAGS=86
            83 e8 ff                            |     | RAX=12348100 RFLAGS=87
            09 c8                               | 10  | RFLAGS=86
            31 c0                               | 10  | RAX=12340000 RFLAGS=46
            66 31 d2                            | 10  | RDX=0 RFLAGS=46
            fe c0                               |     | RAX=12348000 RFLAGS=56
            c1 e0 04                            | 810 | RAX=12340ff0 RFLAGS=6
            c1 e0 00                            |     |
            50 5b                               |     | RBX=80ff 7ffe:ff 7fff:80
            66 52                               |     | RSP=7ffc 7ffc:82 7ffd:03 7fff:80
            60 61                               |     | 7ff0:20 7ff2:10 7ff4:80 7ff5:20 7ff7:80 7ff9:20 7ffa:82 7ffb:03 7ffc:03 7ffe:ff 7fff:80
            66 60 66 61                         |     | 7fe0:20 7fe4:10 7fe8:80 7fe9:20 7fed:80 7ff1:20 7ff4:82 7ff5:03 7ff7:80 7ff8:03 7ffc:ff 7ffd:80 7ffe:34 7fff:12
            90                                  |     |
            eb02 b001 b302                      |     | RBX=2002
            e90200 b001 b302                    |     | RBX=2002
            3c ff 7402 b001 b302                |     | RBX=2002 RFLAGS=46
            3c ff 7502 b001 b302                |     | RAX=12348001 RBX=2002 RFLAGS=46
            e8 0200 eb01 c3                     |     | 7ffe:03 7fff:10
            ec                                  |     | IO of port 0x382, 1 × 1 bytes read; RAX=12348021
            ed                                  |     | IO of port 0x382, 1 × 2 bytes read; RAX=12344321
            66 ed                               |     | IO of port 0x382, 1 × 4 bytes read; RAX=87654321
            ee                                  |     | IO of port 0x382, 1 × 1 bytes written 0xff;
            ef                                  |     | IO of port 0x382, 1 × 2 bytes written 0x80ff;
            66 ef                               |     | IO of port 0x382, 1 × 4 bytes written 0x123480ff;
            e4 44                               |     | IO of port 0x44, 1 × 1 bytes read; RAX=12348021
            66 e5 44                            |     | IO of port 0x44, 1 × 4 bytes read; RAX=87654321
            f4                                  |     | HLT;
            fb fa                               |     |
            8a 47 05                            |     | RAX=12348005
            8b 40 fe                            |     | RAX=12340f0e
            8b 81 0100                          |     | RAX=12342221
            8b 42 10                            |     | RAX=1234a1a0
            8b 03                               |     | RAX=1234a1a0
            8b 04                               |     | RAX=12340000
            66 8b 8d 0020                       |     | RCX=23222120
            8a 66 01                            |     | RAX=123481ff
            89 07                               |     | 2000:ff 2001:80
            40                                  |     | RAX=12348100 RFLAGS=96
            66 4a                               |     | RDX=80000381 RFLAGS=86
            d0 e0                               | 10  | RAX=123480fe RFLAGS=83
            d1 e0                               | 10  | RAX=123401fe RFLAGS=803
            c0 e4 04                            | 810 | RAX=123400ff RFLAGS=46
            b80002 8ed8 a10000 8cdb             |     | RAX=12340100 RBX=200
            b80002 8ec0 26a10200 8cc1           |     | RAX=12340302 RCX=200
            b80002 8ee8 65a00500 668ce9         |     | RAX=12340205 RCX=200
            b80002 8ee0 648a0e0700              |     | RAX=12340200 RCX=7
            b80002 8ed0 bd8000 8a5e01 31c0 8ed0 | 10  | RAX=12340000 RBX=2081 RBP=80 RFLAGS=46
            b80002 8ec0 268b5c04                |     | RAX=12340200 RBX=1514
            b800d0 8ec0 26c64708aa              |     | MMIO at 0xd2008, 1 bytes written 0xaa; RAX=1234d000
            b800d0 8ed8 668b4efc                |     | RAX=1234d000 RCX=7f7e7d7c
            b800d0 8ed8 668b48fc                |     | MMIO at 0xd200c, 4 bytes read; RAX=1234d000 RCX=87654321
            36a00720                            |     | RAX=12348007
            2ea00010                            |     | RAX=1234802e
            3ea00720                            |     | RAX=12348007
            66 8cc8                             |     | RAX=0
            b80030 50 b80010                    |     | RAX=12341000 RSP=7ffe 7fff:30
            """;

    @ParameterizedTest
    @EnumSource
    void instructionsDoAsOnKvm(Kernels kernels) {
        open(kernels.open());
        SoftAssertions all = new SoftAssertions();
        for (String row : ROWS.strip().split("\n")) {
            String[] parts = row.split("\\|", -1);
            int ignored = parts[1].isBlank() ? 0 : Integer.decode("0x" + parts[1].strip());
            all.assertThat(change(parts[0].strip(), ignored)).as(row).isEqualTo(parts[2].strip());
        }
        all.assertAll();
    }

    /** STI and HLT lose no interrupt: it comes when the guest has halted. */
    @ParameterizedTest
    @EnumSource
    void interruptComesAfterTheInstructionBehindSti(Kernels kernels) {
        Vm vm = made.add(Vm.create(made.add(kernels.open())));
        vm.x86().createIrqchip();
        memory = made.add(vm.addMemory(0, MEMORY)).mapping();
        vcpu = made.add(vm.createVcpu(new VcpuId(0)));
        vcpu.x86().startAt(START, STACK);
        vcpu.x86().enableLapic();
        InterruptVector vector = new InterruptVector(0x31);
        put("fbf4");
        vm.signal(MsiMessage.to(new VcpuId(0), vector));
        memory.putInt(vector.number() * Integer.BYTES, START + 2);
        assertThat(vcpu.run().reason()).isEqualTo(VcpuExit.Reason.IO);
        assertThat(memory.getShort(STACK - 6)).as("RIP that it interrupted").isEqualTo((short) (START + 2));
    }

    @Test
    void unknownInstructionIsToldWithThoseThatAreKnown() {
        open(Kernels.FAKE.open());
        put("90 0fa2");
        vcpu.x86().setRegisters(registers());
        assertThatThrownBy(vcpu::run)
                .isInstanceOf(NotModelledException.class)
                .hasMessageStartingWith("the fake kernel does not model the instruction at 0x1001, 0f a2 e6 82 f4")
                .hasMessageContaining("; in real mode it knows " + named() + ", with operands of 8, 16 and 32 bits")
                .hasNoCause(); // the message appears once in a stack trace
        assertThat(vcpu.x86().registers().get(Name.RIP)).isEqualTo(START + 1);
    }

    /** Opcodes of each instruction that the sentence names, with the reg field of ModRM behind a slash. */
    private static final Map<String, String> FORMS = new TreeMap<>(Map.ofEntries(
            Map.entry("add", "00/ 01/ 02/ 03/ 04 05 80/0 81/0 83/0"),
            Map.entry("and", "20/ 21/ 22/ 23/ 24 25 80/4 81/4 83/4"),
            Map.entry("cli", "fa"),
            Map.entry("cmp", "38/ 39/ 3a/ 3b/ 3c 3d 80/7 81/7 83/7"),
            Map.entry("dec", "48 49 4a 4b 4c 4d 4e 4f fe/1 ff/1"),
            Map.entry("hlt", "f4"),
            Map.entry("in", "e4 e5 ec ed"),
            Map.entry("inc", "40 41 42 43 44 45 46 47 fe/0 ff/0"),
            Map.entry("iret", "cf"),
            Map.entry(
                    "mov (no control or debug register)",
                    "88/ 89/ 8a/ 8b/ 8c/0 8c/1 8c/2 8c/3 8c/4 8c/5 8e/0 8e/2 8e/3 8e/4 8e/5 a0 a1 a2 a3 b0 b1 b2 b3 b4"
                            + " b5 b6 b7 b8 b9 ba bb bc bd be bf c6/0 c7/0"),
            Map.entry("near ret", "c3"),
            Map.entry("nop", "90"),
            Map.entry("or", "08/ 09/ 0a/ 0b/ 0c 0d 80/1 81/1 83/1"),
            Map.entry("out", "e6 e7 ee ef"),
            Map.entry("pop of a general register", "58 59 5a 5b 5c 5d 5e 5f"),
            Map.entry("popa", "61"),
            Map.entry("push of a general register", "50 51 52 53 54 55 56 57"),
            Map.entry("pusha", "60"),
            Map.entry("rdmsr", "0f32"),
            Map.entry("relative call", "e8"),
            Map.entry("relative jmp", "e9 eb"),
            Map.entry("shl by a number", "c0/4 c1/4 d0/4 d1/4"),
            Map.entry("short je", "74"),
            Map.entry("short jne", "75"),
            Map.entry("sti", "fb"),
            Map.entry("sub", "28/ 29/ 2a/ 2b/ 2c 2d 80/5 81/5 83/5"),
            Map.entry("wrmsr", "0f30"),
            Map.entry("xor", "30/ 31/ 32/ 33/ 34 35 80/6 81/6 83/6")));

    private static String named() {
        return String.join(", ", FORMS.keySet()).replaceFirst(", (?=[^,]*$)", " and ");
    }

    private static boolean isPrefix(int first) {
        return Set.of(0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66).contains(first);
    }

    /** Whether the fake executes an instruction; what follows it, and all memory else, halts. */
    private boolean isDecoded(String code) {
        memory.put(START, HexFormat.of().parseHex(code + "f4".repeat(8)));
        vcpu.x86().setSystemRegisters(system);
        vcpu.x86().setRegisters(registers());
        try {
            VcpuExit exit = vcpu.run();
            for (int i = 0; exit.reason() != VcpuExit.Reason.HLT && i < 3; i++) {
                if (!exit.isWrite()) {
                    exit.answer(0);
                }
                exit = vcpu.run();
            }
            return true;
        } catch (NotModelledException e) {
            return !e.getMessage().contains("the instruction at 0x1000,");
        }
    }

    /** Each opcode with each reg field is decoded if the message names it, and then with every address. */
    @Test
    void exactlyTheNamedInstructionsAreDecoded() {
        open(Kernels.FAKE.open());
        for (int i = 0; i < MEMORY; i++) {
            memory.putByte(i, (byte) 0xf4);
        }
        Set<String> claimed = FORMS.values().stream()
                .flatMap(forms -> Stream.of(forms.split(" ")))
                .collect(Collectors.toCollection(TreeSet::new));
        List<String> differences = new ArrayList<>();
        for (int i = 0; i < 0x200; i++) {
            String opcode = i < 0x100 ? "%02x".formatted(i) : "0f%02x".formatted(i - 0x100);
            for (int reg = 0; reg < (i < 0x100 ? 8 : 1) && !isPrefix(i) && i != 0x0f; reg++) {
                boolean isNamed = claimed.contains(opcode + "/" + reg);
                boolean isClaimed = isNamed || claimed.contains(opcode) || claimed.contains(opcode + "/");
                int step = isNamed || claimed.contains(opcode + "/") && reg == 0 ? 1 : 0x1f;
                for (int address = 0; address < 0x20; address += step) {
                    String code = opcode + "%02x".formatted((address ^ 0x18) >> 3 << 6 | reg << 3 | address & 7);
                    if (isDecoded(code) != isClaimed) {
                        differences.add(code + (isClaimed ? " is refused" : " is decoded"));
                    }
                }
            }
        }
        assertThat(differences).isEmpty();
    }

    @ParameterizedTest
    @ValueSource(strings = {"a1 ffff", "66 a3 fdff", "66 8b 47 ff", "c7 46 00 34 12"})
    void operandBeyondItsSegmentIsNotModelled(String code) {
        open(Kernels.FAKE.open());
        put(code);
        vcpu.x86().setRegisters(registers().set(Name.RBX, 0xfffe).set(Name.RBP, 0xffff));
        assertThatThrownBy(vcpu::run)
                .hasMessage("the fake kernel does not model an operand beyond its segment (at RIP 0x1000 of vcpu 0)");
    }

    /** KVM exits for each page: the guests of a VMM keep their registers within one. */
    @ParameterizedTest
    @ValueSource(strings = {"66 a1 ffef", "66 a3 ffef", "8b 84 efef"})
    void operandAtTheEndOfAPageIsMemoryOrIsNot(String code) {
        open(Kernels.FAKE.open());
        put("90" + code);
        vcpu.x86().setRegisters(registers());
        assertThatThrownBy(vcpu::run)
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model guest access to address 0xefff"
                        + ", which is at the end of a page, with bytes that are not memory (at RIP 0x1001 of vcpu 0)");
    }

    @Test
    void refusalInAGuestSaysWhereTheGuestIs() {
        open(Kernels.FAKE.open());
        put("90 66b910000000 0f32");
        vcpu.x86().setRegisters(registers());
        assertThatThrownBy(vcpu::run)
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model reading MSR 0x10 (at RIP 0x1007 of vcpu 0)");
    }

    @ParameterizedTest
    @ValueSource(strings = {"b00c e620", "b080 e6a0", "b0e3 e620"})
    void picNeitherPollsNorRotatesPriorities(String code) {
        Vm vm = made.add(Vm.create(made.add(Kernels.FAKE.open())));
        vm.x86().createIrqchip();
        memory = made.add(vm.addMemory(0, MEMORY)).mapping();
        vcpu = made.add(vm.createVcpu(new VcpuId(0)));
        vcpu.x86().startAt(START, STACK);
        put(code);
        assertThatThrownBy(vcpu::run)
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model the command 0x"
                        + Integer.toHexString(Integer.parseInt(code.substring(2, 4), 16))
                        + " of a PIC, which polls or rotates (at RIP 0x1002 of vcpu 0)");
    }

    @Test
    void pollModeIsSaidToComeFromTheStateThatWasSet() {
        Vm vm = made.add(Vm.create(made.add(Kernels.FAKE.open())));
        vm.x86().createIrqchip();
        byte[] polls = vm.x86().pic(Route.Chip.PIC_MASTER).bytes();
        polls[Uapi.KvmPicState.POLL] = 1;
        vm.x86().setPic(X86Pic.fromBytes(Route.Chip.PIC_MASTER, polls));
        memory = made.add(vm.addMemory(0, MEMORY)).mapping();
        vcpu = made.add(vm.createVcpu(new VcpuId(0)));
        vcpu.x86().startAt(START, STACK);
        put("90 e420");
        assertThatThrownBy(vcpu::run)
                .isInstanceOf(NotModelledException.class)
                .hasMessage("the fake kernel does not model reading a PIC in poll mode, which KVM_SET_IRQCHIP set"
                        + " (at RIP 0x1001 of vcpu 0)");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "72 00",
                "7c 00",
                "f0",
                "f3 a4",
                "67",
                "11 c8",
                "83 d0 01",
                "c1 e8 01",
                "84 c0",
                "93",
                "e2 fe",
                "0f 01 1e 00 20",
                "f6 d0",
                "ff 18",
                "8e c8",
                "8c f8",
                "6c",
                "d8",
                "66 cf"
            })
    void otherInstructionsAreNotModelled(String code) {
        open(Kernels.FAKE.open());
        put(code);
        vcpu.x86().setRegisters(registers());
        assertThatThrownBy(vcpu::run).hasMessageContaining("the instruction at 0x1000, " + code.substring(0, 2));
    }
}
