/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Implements the native methods of io.kvmirq.backend.jni, bound by name. Takes
 * primitives and direct buffers only; Java has checked their sizes and
 * positions. A heap buffer has no address: the result is -EFAULT.
 */
#include "internal.h"
#include "kvmirq.h"

#include <jni.h>

#define BACKEND_CLASS "io/kvmirq/backend/jni/JniBackend"
#define LIBC_CLASS "io/kvmirq/backend/jni/JniLibc"

#define UNUSED __attribute__((unused))
#define ARGS JNIEnv *env UNUSED, jclass class UNUSED

static void *at(JNIEnv *env, jobject buffer)
{
	return buffer ? (*env)->GetDirectBufferAddress(env, buffer) : NULL;
}

/* The methods that take numbers alone: see functions.awk. */
#include "numbers.h"

/* eventfd.c */

static jint eventfdsCreate(ARGS, jobject buffer, jint count)
{
	int32_t *fds = at(env, buffer);

	return fds ? kvmirq_eventfds_create(fds, (uint32_t)count) : -EFAULT;
}

/*
 * The result is the count, because GetDirectBufferAddress would double the
 * cost of the call. A count that equals -errno or COUNT_IN_BUFFER is written
 * to the buffer instead.
 */
#define COUNT_IN_BUFFER (-4096)

static jlong taken(JNIEnv *env, jobject buffer, int ret, uint64_t count)
{
	void *to;

	if (ret < 0)
		return ret;
	if ((jlong)count >= 0 || (jlong)count < COUNT_IN_BUFFER)
		return (jlong)count;
	to = at(env, buffer);
	if (!to)
		return -EFAULT;
	__builtin_memcpy(to, &count, sizeof(count));
	return COUNT_IN_BUFFER;
}

/* gcc 12 would keep a call here, and each return after the read is slow. */
__attribute__((flatten)) static jlong eventfdDrain(ARGS, jint fd, jobject buffer)
{
	uint64_t count = 0;
	int ret = kvmirq_eventfd_drain(fd, &count);

	return taken(env, buffer, ret, count);
}

static jlong eventfdDrainForeign(ARGS, jint fd, jobject buffer)
{
	uint64_t count = 0;
	int ret = kvmirq_eventfd_drain_foreign(fd, &count);

	return taken(env, buffer, ret, count);
}

/* vm.c */

static jint kvmOpen(ARGS, jobject path)
{
	const char *name = at(env, path);

	return name ? kvmirq_kvm_open(name) : -EFAULT;
}

/* irqchip.c */

static jint irqchipGet(ARGS, jint vm, jint chip, jobject state)
{
	void *to = at(env, state);

	return to ? kvmirq_irqchip_get(vm, (uint32_t)chip, to) : -EFAULT;
}

static jint irqchipSet(ARGS, jint vm, jint chip, jobject state)
{
	const void *from = at(env, state);

	return from ? kvmirq_irqchip_set(vm, (uint32_t)chip, from) : -EFAULT;
}

/* route.c */

static jint routesSet(ARGS, jint vm, jobject routes, jint count)
{
	const void *from = at(env, routes);

	return from ? kvmirq_routes_set(vm, from, (uint32_t)count) : -EFAULT;
}

/* irqfd.c */

static jint irqfdsAssign(ARGS, jint vm, jobject buffer, jint count)
{
	struct kvmirq_irqfd *all = at(env, buffer);

	return all ? kvmirq_irqfds_assign(vm, all, (uint32_t)count) : -EFAULT;
}

/* inject.c */

static jint lineSetStatus(ARGS, jint vm, jint gsi, jint level, jobject status)
{
	void *to = at(env, status);

	return to ? kvmirq_line_set_status(vm, (uint32_t)gsi, level, to) :
		    -EFAULT;
}

/* vfio.c */

static jint vfioIrqInfo(ARGS, jint device, jint index, jobject info)
{
	void *to = at(env, info);

	return to ? kvmirq_vfio_irq_info(device, (uint32_t)index, to) : -EFAULT;
}

static jint vfioIrqsSet(ARGS, jint device, jint flags, jint index, jint start,
			jint count, jobject set, jint size)
{
	void *argument = at(env, set);

	if (!argument)
		return -EFAULT;
	return kvmirq_vfio_irqs_set(device, (uint32_t)flags, (uint32_t)index,
				    (uint32_t)start, (uint32_t)count, argument,
				    (uint32_t)size);
}

/* sys.c: addresses are numbers of the caller */

static jlong sysCall(ARGS, jlong number, jlong a, jlong b, jlong c, jlong d,
		     jlong e, jlong f)
{
	return kvmirq_call(number, (uint64_t)a, (uint64_t)b, (uint64_t)c,
			   (uint64_t)d, (uint64_t)e, (uint64_t)f);
}

/* Native memory: a buffer over an address, and the address of a buffer. */

static jobject newBuffer(ARGS, jlong address, jlong len)
{
	return (*env)->NewDirectByteBuffer(
		env, (void *)(uintptr_t)address, len);
}

static jlong addressOf(ARGS, jobject buffer)
{
	return (jlong)(uintptr_t)at(env, buffer);
}

#define BUFFER "Ljava/nio/ByteBuffer;"
#define NAMED(name, signature, function)                             \
	{ (char *)name, (char *)signature, (void *)(uintptr_t)function }
#define METHOD(name, signature) NAMED(#name, signature, name)
/* Java has checked the buffer in the method without this suffix. */
#define CHECKED(name, signature) NAMED(#name "Checked", signature, name)

static const JNINativeMethod backend_methods[] = {
	NUMBERS
	CHECKED(eventfdsCreate, "(" BUFFER "I)I"),
	CHECKED(eventfdDrain, "(I" BUFFER ")J"),
	CHECKED(eventfdDrainForeign, "(I" BUFFER ")J"),
	CHECKED(kvmOpen, "(" BUFFER ")I"),
	CHECKED(irqchipGet, "(II" BUFFER ")I"),
	CHECKED(irqchipSet, "(II" BUFFER ")I"),
	CHECKED(routesSet, "(I" BUFFER "I)I"),
	CHECKED(irqfdsAssign, "(I" BUFFER "I)I"),
	CHECKED(lineSetStatus, "(III" BUFFER ")I"),
	CHECKED(vfioIrqInfo, "(II" BUFFER ")I"),
	CHECKED(vfioIrqsSet, "(IIIII" BUFFER "I)I"),
};

static const JNINativeMethod libc_methods[] = {
	NAMED("call", "(JJJJJJJ)J", sysCall),
	NAMED("newBuffer", "(JJ)" BUFFER, newBuffer),
	NAMED("addressOfChecked", "(" BUFFER ")J", addressOf),
};

/*
 * A newer library has methods that the class lacks. They are skipped, and the
 * handshake in Java decides whether the rest is enough. Any other failure to
 * register stays pending, and the load fails.
 */
static int bind(JNIEnv *env, jclass class, jclass missing,
		const JNINativeMethod *method)
{
	if ((*env)->RegisterNatives(env, class, method, 1) == 0)
		return 0;
	jthrowable why = (*env)->ExceptionOccurred(env);

	if (!why)
		return -1;
	(*env)->ExceptionClear(env);
	if ((*env)->IsInstanceOf(env, why, missing))
		return 0;
	(*env)->Throw(env, why);
	return -1;
}

static int bind_all(JNIEnv *env, const char *name, jclass missing,
		    const JNINativeMethod *methods, size_t count)
{
	jclass class = (*env)->FindClass(env, name);

	if (!class)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (bind(env, class, missing, &methods[i]) < 0)
			return -1;
	}
	(*env)->DeleteLocalRef(env, class);
	return 0;
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

KVMIRQ_EXPORT JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM *vm,
						void *reserved UNUSED)
{
	JNIEnv *env;
	jclass missing;

	if ((*vm)->GetEnv(vm, (void **)&env, JNI_VERSION_1_8) != JNI_OK)
		return JNI_ERR;
	missing = (*env)->FindClass(env, "java/lang/NoSuchMethodError");
	if (!missing)
		return JNI_ERR;
	if (bind_all(env, BACKEND_CLASS, missing, backend_methods,
		     COUNT(backend_methods)) < 0)
		return JNI_ERR;
	if (bind_all(env, LIBC_CLASS, missing, libc_methods,
		     COUNT(libc_methods)) < 0)
		return JNI_ERR;
	(*env)->DeleteLocalRef(env, missing);
	return JNI_VERSION_1_8;
}
