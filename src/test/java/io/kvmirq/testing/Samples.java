/* SPDX-License-Identifier: Apache-2.0 */
package io.kvmirq.testing;

import io.kvmirq.Errno;
import io.kvmirq.Gsi;
import io.kvmirq.InterruptVector;
import io.kvmirq.IoAddress;
import io.kvmirq.MsiMessage;
import io.kvmirq.PciAddress;
import io.kvmirq.Ppi;
import io.kvmirq.Spi;
import io.kvmirq.VcpuId;
import io.kvmirq.arch.BitField;
import io.kvmirq.arch.Field;
import io.kvmirq.arch.Format;
import io.kvmirq.arch.FormatBuilder;
import io.kvmirq.arch.SharedWords;
import io.kvmirq.arch.vcpu.HostCpus;
import io.kvmirq.backend.HostFiles;
import io.kvmirq.backend.KernelBackend;
import io.kvmirq.backend.Libc;
import io.kvmirq.fake.FakeKernel;
import io.kvmirq.fake.FakePciDevice;
import io.kvmirq.fake.FakeTracing;
import io.kvmirq.fake.Faults;
import io.kvmirq.fake.Profile;
import io.kvmirq.fake.ScriptedVcpu;
import io.kvmirq.forward.ForwardedIrq;
import io.kvmirq.forward.Forwarding;
import io.kvmirq.forward.KvmVfio;
import io.kvmirq.host.HostInterrupts;
import io.kvmirq.host.facts.HostFacts;
import io.kvmirq.host.facts.HostKvm;
import io.kvmirq.host.facts.PciCapabilities;
import io.kvmirq.host.facts.ReadOnce;
import io.kvmirq.irqchip.GuestIoapic;
import io.kvmirq.kernel.EventFd;
import io.kvmirq.kernel.EventLoop;
import io.kvmirq.kernel.Fd;
import io.kvmirq.kernel.Kernel;
import io.kvmirq.kernel.Mapping;
import io.kvmirq.kernel.MemoryFile;
import io.kvmirq.kernel.Registration;
import io.kvmirq.kvm.Cpuid;
import io.kvmirq.kvm.DirtyLog;
import io.kvmirq.kvm.GuestMemory;
import io.kvmirq.kvm.IoEventFd;
import io.kvmirq.kvm.Irqfd;
import io.kvmirq.kvm.Its;
import io.kvmirq.kvm.KvmDevice;
import io.kvmirq.kvm.MaskableVector;
import io.kvmirq.kvm.RouteTable;
import io.kvmirq.kvm.Vcpu;
import io.kvmirq.kvm.VcpuExit;
import io.kvmirq.kvm.VgicV2;
import io.kvmirq.kvm.VgicV3;
import io.kvmirq.kvm.Vm;
import io.kvmirq.kvm.X86DebugRegisters;
import io.kvmirq.kvm.X86Events;
import io.kvmirq.kvm.X86Fpu;
import io.kvmirq.kvm.X86Lapic;
import io.kvmirq.kvm.X86Registers;
import io.kvmirq.kvm.X86SystemRegisters;
import io.kvmirq.kvm.X86Vcpu;
import io.kvmirq.kvm.X86Vm;
import io.kvmirq.kvm.X86Xsave;
import io.kvmirq.mirror.Mirror;
import io.kvmirq.mirror.MirrorHost;
import io.kvmirq.path.Hop;
import io.kvmirq.pci.EmulatedFunction;
import io.kvmirq.pci.EmulatedVectors;
import io.kvmirq.pci.GuestMessages;
import io.kvmirq.pci.GuestMsix;
import io.kvmirq.pci.PassedThroughDevice;
import io.kvmirq.pci.PciFunction;
import io.kvmirq.pci.PciHostBridge;
import io.kvmirq.run.VcpuThreads;
import io.kvmirq.snapshot.VmMove;
import io.kvmirq.snapshot.VmParts;
import io.kvmirq.snapshot.VmSnapshot;
import io.kvmirq.undo.Undo;
import io.kvmirq.vfio.ArmedIrq;
import io.kvmirq.vfio.ArmedLine;
import io.kvmirq.vfio.ArmedVectors;
import io.kvmirq.vfio.DmaMapping;
import io.kvmirq.vfio.DmaSpace;
import io.kvmirq.vfio.FileHolder;
import io.kvmirq.vfio.Ioas;
import io.kvmirq.vfio.LineIrq;
import io.kvmirq.vfio.MessageIrq;
import io.kvmirq.vfio.MessageIrqs;
import io.kvmirq.vfio.VfioCdev;
import io.kvmirq.vfio.VfioContainer;
import io.kvmirq.vfio.VfioDevice;
import io.kvmirq.vfio.VfioGroup;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Modifier;
import java.lang.reflect.Proxy;
import java.lang.reflect.RecordComponent;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.OptionalLong;
import java.util.Set;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/** Objects to call, on a fake kernel. A type that is not here is made of its constants, components or a proxy. */
public final class Samples implements AutoCloseable {
    private final Undo open = new Undo();
    private final Map<Class<?>, Supplier<?>> makers = new LinkedHashMap<>();
    private final Map<Class<?>, Object> made = new HashMap<>();

    private static final String NIC = "0000:3b:00.0";

    public Samples() {
        this("6.12");
    }

    /** Samples of VFIO devices are not for a real kernel. */
    public Samples(KernelBackend kernel) {
        this();
        put(KernelBackend.class, () -> kernel);
    }

    public Samples(String profile) {
        put(Hop.class, () -> Hop.GSI);
        put(FakeKernel.class, () -> {
            FakeKernel fake = new FakeKernel(Profile.parse(profile));
            put(FakePciDevice.class, () -> fake.pciDevice(NIC, 7)
                    .ids(0x8086, 0x10d3)
                    .msix(8)
                    .intx()
                    .bar(0, 0x1000)
                    .add());
            get(FakePciDevice.class);
            return fake;
        });
        put(FakePciDevice.class, () -> {
            get(FakeKernel.class);
            return get(FakePciDevice.class);
        });
        put(KernelBackend.class, () -> get(FakeKernel.class).backend());
        put(Libc.class, () -> get(FakeKernel.class).backend().libc());
        put(Kernel.class, () -> open.add(Kernel.over(get(KernelBackend.class))));
        put(Vm.class, () -> {
            Vm vm = open.add(Vm.create(get(Kernel.class)));
            if (!vm.isArm64()) {
                vm.x86().createSplitIrqchip(24);
            }
            return vm;
        });
        put(KvmDevice.class, () -> open.add(get(Vm.class).createDevice(KvmDevice.Type.VFIO)));
        put(VgicV2.class, () -> open.add(get(Vm.class).arm64().createVgicV2()));
        put(VgicV3.class, () -> open.add(get(Vm.class).arm64().createVgicV3()));
        put(Its.class, () -> open.add(get(Vm.class).arm64().createIts()));
        put(
                IoEventFd.class,
                () -> open.add(get(Vm.class).assignIoEventFd(IoAddress.port(0x80, 1), get(EventFd.class))));
        put(Fd.class, () -> get(EventFd.class).fd());
        put(Fd.Lease.class, () -> open.add(get(Fd.class).lease()));
        put(Registration.class, () -> open.add(get(EventLoop.class).register(get(EventFd.class), count -> {})));
        put(Mapping.Owner.class, () -> open.add(Mapping.anonymous(get(Kernel.class), 0x1000)));
        put(Mapping.Lease.class, () -> open.add(get(Mapping.class).lease()));
        put(DirtyLog.class, () -> open.add(get(GuestMemory.class).logDirtyPages()));
        put(FakeTracing.class, () -> open.add(get(FakeKernel.class).tracing()));
        put(Vcpu.class, () -> open.add(get(Vm.class).createVcpu(new VcpuId(0))));
        put(EventFd.class, () -> open.add(EventFd.create(get(Kernel.class))));
        put(EventLoop.class, () -> open.add(EventLoop.create(get(Kernel.class))));
        put(RouteTable.class, () -> get(Vm.class).routes());
        put(X86Vm.class, () -> get(Vm.class).x86());
        put(X86Vcpu.class, () -> get(Vcpu.class).x86());
        put(Irqfd.class, () -> open.add(get(Vm.class).assignIrqfd(get(EventFd.class), new Gsi(30))));
        put(MaskableVector.class, () -> open.add(MaskableVector.create(get(Vm.class), get(MsiMessage.class))));
        put(GuestMemory.class, () -> open.add(get(Vm.class).addMemory(0, 0x10000)));
        put(Mapping.class, () -> get(GuestMemory.class).mapping());
        put(MemoryFile.class, () -> open.add(MemoryFile.create(get(Kernel.class), "ram", 0x10000)));
        put(GuestIoapic.class, () -> new GuestIoapic(get(Vm.class), 24));
        put(VfioDevice.class, () -> open.add(VfioDevice.open(get(Kernel.class), PciAddress.parse(NIC))));
        put(Forwarding.class, () -> open.add(Forwarding.create(get(Vm.class), get(VfioDevice.class))));
        put(KvmVfio.class, () -> open.add(KvmVfio.create(get(Vm.class))));
        put(VmParts.class, () -> new VmParts(get(Vm.class)).vcpu(new VcpuId(0), get(Vcpu.class)));
        put(VmMove.class, () -> VmMove.from(get(VmParts.class)));
        put(VmSnapshot.class, () -> VmSnapshot.take(get(VmParts.class)));
        put(MessageIrqs.class, () -> get(VfioDevice.class).msix());
        put(MessageIrq.class, () -> get(MessageIrqs.class).get(0));
        put(LineIrq.class, () -> get(VfioDevice.class).intx());
        put(DmaSpace.class, () -> open.add(VfioContainer.create(get(Kernel.class))));
        put(VfioContainer.class, () -> open.add(VfioContainer.create(get(Kernel.class))));
        put(DmaMapping.class, () -> open.add(get(VfioDevice.class).dma().map(0, get(Mapping.class))));
        put(VfioGroup.class, () -> open.add(VfioGroup.open(get(Kernel.class), get(PciAddress.class))));
        put(VfioCdev.class, () -> open.add(VfioCdev.open(get(Kernel.class), get(PciAddress.class))));
        put(Ioas.class, () -> open.add(Ioas.create(get(Kernel.class))));
        put(FileHolder.Hold.class, () -> open.add(get(KvmVfio.class).hold(get(VfioGroup.class))));
        put(ArmedIrq.class, () -> open.add(get(VfioDevice.class).req().arm(get(EventFd.class))));
        put(PciHostBridge.class, () -> new PciHostBridge(0x8000_0000L, 0x1000_0000L));
        put(EmulatedVectors.class, () -> open.add(EmulatedVectors.create(get(Vm.class), 1)));
        put(GuestMessages.class, () -> get(GuestMsix.class));
        put(GuestMsix.class, () -> new GuestMsix(get(Forwarding.class), get(VfioDevice.class), OptionalInt.empty()));
        put(
                PassedThroughDevice.class,
                () -> open.add(PassedThroughDevice.builder(
                                get(PciHostBridge.class),
                                1,
                                get(Vm.class),
                                get(VfioDevice.class),
                                get(Forwarding.class))
                        .build()));
        put(HostFiles.class, () -> HostFiles.of(Map.of(), Map.of()));
        put(HostFacts.class, () -> new HostFacts(get(HostFiles.class)));
        put(HostInterrupts.class, () -> new HostInterrupts(""));
        put(ReadOnce.class, () -> new ReadOnce(get(HostFiles.class)));
        put(PciCapabilities.class, () -> PciCapabilities.parse(new byte[PciCapabilities.BYTES]));
        put(SharedWords.class, () -> SharedWords.of(new long[Long.SIZE]));
        put(HostCpus.class, () -> new HostCpus(0));
        put(Format.class, () -> Format.builder("kind", "title", 1, Long.SIZE).build());
        put(FormatBuilder.class, () -> Format.builder("kind", "title", 1, Long.SIZE));
        put(Mirror.class, () -> Mirror.create(MirrorHost.unknown("sample")));
        put(MirrorHost.class, () -> MirrorHost.unknown("sample"));
        put(Faults.class, Faults::new);
        put(BitField.class, () -> new BitField("field", 0, Byte.SIZE));
        put(Field.class, () -> get(BitField.class));
        put(Spi.class, () -> new Spi(Long.SIZE));
        put(Ppi.class, () -> new Ppi(Short.SIZE));
        put(ForwardedIrq.class, () -> get(Forwarding.class).forward(get(MessageIrq.class), get(MsiMessage.class)));
        put(Forwarding.Builder.class, () -> Forwarding.builder(get(Vm.class), get(VfioDevice.class)));
        put(FakePciDevice.Builder.class, () -> get(FakeKernel.class).pciDevice("0000:3c:00.0", 8));
        put(
                PassedThroughDevice.Builder.class,
                () -> PassedThroughDevice.builder(
                        get(PciHostBridge.class), 1, get(Vm.class), get(VfioDevice.class), get(Forwarding.class)));
        put(EmulatedFunction.Registers.class, () -> new EmulatedFunction.Registers() {
            @Override
            public long read(int bar, long at, int size) {
                return 0;
            }

            @Override
            public void write(int bar, long at, int size, long value) {}
        });
        put(
                EmulatedFunction.class,
                () -> open.add(EmulatedFunction.builder(
                                get(PciHostBridge.class), 2, get(Vm.class), get(EmulatedFunction.Registers.class))
                        .ids(0x1af4, 0x1041)
                        .build()));
        put(VcpuThreads.Owner.class, () -> new VcpuThreads.Owner() {
            @Override
            public boolean exited(Vcpu vcpu, VcpuExit exit) {
                return false;
            }

            @Override
            public void failed(Vcpu vcpu, Throwable failure) {}
        });
        put(VcpuThreads.class, () -> open.add(VcpuThreads.startPaused(List.of(), get(VcpuThreads.Owner.class))));
        put(PciFunction.class, () -> get(EmulatedFunction.class));
        put(ArmedVectors.class, () -> open.add(get(VfioDevice.class).msix(0, 1).arm(List.of(get(EventFd.class)))));
        put(ArmedLine.class, () -> open.add(get(LineIrq.class).arm(get(EventFd.class))));
        put(HostKvm.class, () -> get(HostFacts.class).kvm());
        put(X86Lapic.class, () -> get(Vcpu.class).x86().lapic());
        put(X86SystemRegisters.class, () -> get(Vcpu.class).x86().systemRegisters());
        put(X86Events.class, () -> get(Vcpu.class).x86().events());
        put(X86Fpu.class, () -> get(Vcpu.class).x86().fpu());
        put(Cpuid.class, () -> Cpuid.ofHost(get(Kernel.class)));
        put(Cpuid.Leaf.class, () -> get(Cpuid.class).leaves().get(0));
        put(X86Registers.class, () -> get(Vcpu.class).x86().registers());
        put(X86DebugRegisters.class, () -> get(Vcpu.class).x86().debugRegisters());
        put(X86Xsave.class, () -> get(Vcpu.class).x86().xsave());
        put(ScriptedVcpu.class, () -> get(FakeKernel.class).vcpu(0));
        put(OutputStream.class, ByteArrayOutputStream::new);
        put(InputStream.class, () -> new ByteArrayInputStream(new byte[0]));
        put(OptionalLong.class, OptionalLong::empty);
        put(Errno.class, () -> Errno.EINVAL);
        put(MsiMessage.class, () -> MsiMessage.to(new VcpuId(0), new InterruptVector(0x31)));
        put(InterruptVector.class, () -> new InterruptVector(0x31));
        put(PciAddress.class, () -> PciAddress.parse(NIC));
        put(Profile.class, () -> Profile.parse("6.12"));
        put(String.class, () -> "1");
        put(Object.class, () -> "1");
        put(CharSequence.class, () -> "1");
        put(Path.class, () -> Path.of("/nowhere"));
        put(Duration.class, () -> Duration.ZERO);
        put(ByteBuffer.class, () -> ByteBuffer.allocateDirect(4096));
        put(Optional.class, Optional::empty);
        put(OptionalInt.class, OptionalInt::empty);
        put(List.class, List::of);
        put(Set.class, Set::of);
        put(Collection.class, List::of);
        put(Map.class, Map::of);
        put(Thread.class, Thread::currentThread);
        put(Throwable.class, () -> new IllegalStateException("sample"));
        put(Class.class, () -> String.class);
    }

    private <T> void put(Class<T> type, Supplier<? extends T> maker) {
        makers.put(type, maker);
    }

    /** One of this type, always the same. */
    public <T> T get(Class<T> type) {
        Object before = made.get(type);
        if (before == null) {
            Supplier<?> maker = makers.get(type);
            if (maker == null) {
                throw new IllegalArgumentException("no sample of " + type.getName() + ": put one here");
            }
            before = maker.get();
            made.put(type, before);
        }
        return type.cast(before);
    }

    /** One of this type; null if there is none. */
    @Nullable
    public Object of(Class<?> type) throws ReflectiveOperationException {
        if (type.isPrimitive()) {
            return type == boolean.class
                    ? (Object) true
                    : type == char.class
                            ? (Object) 'a'
                            : type == long.class
                                    ? (Object) 0L
                                    : type == byte.class
                                            ? (Object) (byte) 0
                                            : type == short.class
                                                    ? (Object) (short) 0
                                                    : type == double.class ? (Object) 0.0 : (Object) 0;
        }
        if (type.isArray()) {
            return Array.newInstance(type.getComponentType(), 0);
        }
        if (makers.containsKey(type)) {
            return get(type);
        }
        if (type.isEnum()) {
            return type.getEnumConstants()[0];
        }
        if (type.isRecord()) {
            Class<?>[] types = Arrays.stream(type.getRecordComponents())
                    .map(RecordComponent::getType)
                    .toArray(Class<?>[]::new);
            return type.getDeclaredConstructor(types).newInstance(arguments(types));
        }
        if (type.isInterface() && !type.isSealed()) {
            return Proxy.newProxyInstance(
                    type.getClassLoader(),
                    new Class<?>[] {type},
                    (proxy, method, given) -> method.isDefault()
                            ? InvocationHandler.invokeDefault(proxy, method, given)
                            : method.getReturnType().isPrimitive() && method.getReturnType() != void.class
                                    ? of(method.getReturnType())
                                    : method.getReturnType() == String.class ? "proxy" : null);
        }
        if (type.isSealed()) {
            for (Class<?> subclass : type.getPermittedSubclasses()) {
                Object sample = of(subclass);
                if (sample != null) {
                    return sample;
                }
            }
        }
        for (Constructor<?> constructor : type.getConstructors()) {
            if (constructor.getParameterCount() == 0 && !Modifier.isAbstract(type.getModifiers())) {
                return constructor.newInstance();
            }
        }
        return null;
    }

    /** One of each. */
    @Nullable
    public Object[] arguments(Class<?>... types) throws ReflectiveOperationException {
        @Nullable Object[] all = new Object[types.length];
        for (int i = 0; i < types.length; i++) {
            all[i] = of(types[i]);
            if (all[i] == null) {
                throw new NoSuchMethodException("no sample of " + types[i]);
            }
        }
        return all;
    }

    @Override
    public void close() {
        open.close();
    }
}
