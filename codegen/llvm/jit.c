/* jit.c — the host as a target, optimisation, object code, and linking through ORC. See jit.h.
 *
 * The templates emit vector code that is nearly final, so the pass pipeline is short: registers for stack
 * slots, common subexpressions, loop-invariant code, and the like. Objects are what the cache keeps; linking
 * one takes a millisecond.
 */
#include "jit.h"
#include "cpus.h"
#include <llvm-c/Error.h>
#include <llvm-c/ExecutionEngine.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/LLJITUtils.h>
#include <llvm-c/Object.h>
#include <llvm-c/OrcEE.h>
#include <llvm-c/Target.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

static const char pipeline[] = "function(sroa,early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,"
                               "loop-mssa(loop-rotate,licm),gvn,"
                               "instcombine<no-verify-fixpoint>,simplifycfg,loop-mssa(licm),adce),"
                               "globaldce,constmerge";

/* ---- The host ---- */

static pthread_once_t llvm_once = PTHREAD_ONCE_INIT;

static void initialize_llvm(void) {
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
    LLVMInitializeNativeAsmParser();
}

static FraxStatus take_message(char *message, FraxError *err, FraxStatus status, const char *what) {
    fail(err, status, "%s: %s", what, message ? message : "no reason given");
    LLVMDisposeMessage(message);
    return status;
}

static FraxStatus take_error(LLVMErrorRef error, FraxError *err, const char *what) {
    char *message = LLVMGetErrorMessage(error);
    fail(err, FRAX_INTERNAL, "%s: %s", what, message);
    LLVMDisposeErrorMessage(message);
    return FRAX_INTERNAL;
}

static char *copy_message(char *message) {
    char *copy = message ? mem_strdup(message) : NULL;
    LLVMDisposeMessage(message);
    return copy;
}

FraxStatus host_target(HostTarget *target, FraxError *err) {
    pthread_once(&llvm_once, initialize_llvm);
    *target = (HostTarget){.vector_bytes = 16};
    target->triple = copy_message(LLVMGetDefaultTargetTriple());
    target->cpu = copy_message(LLVMGetHostCPUName());
    target->features = copy_message(LLVMGetHostCPUFeatures());
    if (!target->triple || !target->cpu || !target->features) {
        host_target_free(target);
        return fail_memory(err, "asking for the host's features");
    }
    bool x86 = !strncmp(target->triple, "x86_64", 6), arm = !strncmp(target->triple, "aarch64", 7);
    if (x86 && strstr(target->features, "+avx512f") && strstr(target->features, "+avx512vl"))
        target->vector_bytes = 64;
    else if (x86 && strstr(target->features, "+avx2"))
        target->vector_bytes = 32;
    target->vector_isa = x86   ? (target->vector_bytes == 64   ? 'e'
                                  : target->vector_bytes == 32 ? 'd'
                                                               : 'b')
                         : arm ? 'n'
                               : 0;
    target->converts_f16 = arm || (x86 && strstr(target->features, "+f16c"));
    return FRAX_OK;
}

static pthread_once_t all_targets_once = PTHREAD_ONCE_INIT;

static void initialize_all_targets(void) {
    LLVMInitializeAllTargetInfos();
    LLVMInitializeAllTargets();
    LLVMInitializeAllTargetMCs();
    LLVMInitializeAllAsmPrinters();
    LLVMInitializeAllAsmParsers();
}

static const struct Named {
    const char *name, *architecture, *triple;
    int vector_bytes;
    char vector_isa;
    bool converts_f16;
} named[] = {
#define X(...) {__VA_ARGS__},
    CPUS(X)
#undef X
};

FraxStatus named_target(const char *name, HostTarget *target, FraxError *err) {
    FraxStatus status = host_target(target, err);
    if (status || !strcmp(name, "native")) return status;
    size_t i = 0;
    for (; i < COUNT(named); i++) {
        bool generic = !strcmp(name, "generic") &&
                       strncmp(target->triple, named[i].architecture, strlen(named[i].architecture)) == 0;
        if (generic || !strcmp(name, named[i].name)) break;
    }
    host_target_free(target);
    if (i == COUNT(named))
        return fail(err, FRAX_VALUE, "unknown cpu %s; expected one of: native, generic" CPUS_LISTED, name);
    LLVMTargetRef found;
    char *message = NULL;
    pthread_once(&all_targets_once, initialize_all_targets);
    if (LLVMGetTargetFromTriple(named[i].triple, &found, &message))
        return take_message(message, err, FRAX_UNSUPPORTED, "this LLVM cannot generate code for that cpu");
    bool arm = named[i].vector_isa == 'n';
    *target = (HostTarget){.triple = mem_strdup(named[i].triple),
                           .cpu = mem_strdup(arm ? "generic" : named[i].name),
                           .features = mem_strdup(arm ? "+neon" : ""),
                           .vector_bytes = named[i].vector_bytes,
                           .vector_isa = named[i].vector_isa,
                           .converts_f16 = named[i].converts_f16};
    if (target->triple && target->cpu && target->features) return FRAX_OK;
    host_target_free(target);
    return fail_memory(err, "choosing the cpu");
}

bool target_is_native(const HostTarget *target) {
    char *triple = LLVMGetDefaultTargetTriple();
    const char *dash = strchr(triple, '-');
    size_t n = dash ? (size_t)(dash - triple) : strlen(triple);
    bool same = !strncmp(triple, target->triple, n) && target->triple[n] == '-';
    LLVMDisposeMessage(triple);
    return same;
}

void host_target_free(HostTarget *target) {
    mem_free(target->triple);
    mem_free(target->cpu);
    mem_free(target->features);
    *target = (HostTarget){0};
}

const char *jit_llvm_version(char buffer[32]) {
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    snprintf(buffer, 32, "%u.%u.%u", major, minor, patch);
    return buffer;
}

static LLVMTargetMachineRef target_machine(const HostTarget *host, FraxError *err) {
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(host->triple, &target, &message)) {
        take_message(message, err, FRAX_UNSUPPORTED, "this LLVM has no code generator for the host");
        return NULL;
    }
    return LLVMCreateTargetMachine(target, host->triple, host->cpu, host->features, LLVMCodeGenLevelDefault,
                                   LLVMRelocPIC, LLVMCodeModelDefault);
}

/* ---- Modules to objects ---- */

static FraxStatus optimise(LLVMModuleRef module, LLVMTargetMachineRef machine, FraxError *err) {
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, pipeline, machine, options);
    LLVMDisposePassBuilderOptions(options);
    return error ? take_error(error, err, "optimising") : FRAX_OK;
}

FraxStatus compile_module(LLVMContextRef context, LLVMModuleRef module, const HostTarget *host, bool assembly,
                          char **object, size_t *size, FraxError *err) {
    LLVMTargetMachineRef machine = target_machine(host, err);
    LLVMMemoryBufferRef buffer = NULL;
    char *message = NULL;
    FraxStatus status = machine ? optimise(module, machine, err) : FRAX_UNSUPPORTED;
    LLVMCodeGenFileType type = assembly ? LLVMAssemblyFile : LLVMObjectFile;
    if (!status && LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &message, &buffer))
        status = take_message(message, err, FRAX_INTERNAL, "generating code");
    if (!status) {
        *size = LLVMGetBufferSize(buffer);
        *object = mem_alloc(*size);
        if (*object)
            memcpy(*object, LLVMGetBufferStart(buffer), *size);
        else
            status = fail_memory(err, "generating code");
    }
    if (buffer) LLVMDisposeMemoryBuffer(buffer);
    if (machine) LLVMDisposeTargetMachine(machine);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return status;
}

FraxStatus module_text(LLVMContextRef context, LLVMModuleRef module, const HostTarget *host, Text *out,
                       FraxError *err) {
    LLVMTargetMachineRef machine = target_machine(host, err);
    FraxStatus status = machine ? optimise(module, machine, err) : FRAX_UNSUPPORTED;
    if (!status) {
        char *text = LLVMPrintModuleToString(module);
        text_append(out, text, strlen(text));
        LLVMDisposeMessage(text);
        if (out->failed) status = fail_memory(err, "printing code");
    }
    if (machine) LLVMDisposeTargetMachine(machine);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return status;
}

/* ---- Linking ---- */

struct JitCode {
    LLVMOrcLLJITRef jit;
    SymbolResolver *resolve;
};

/* Offers what the resolver and llvm_math.c know to the linker; whatever else is asked for comes from the
 * process. */
static LLVMErrorRef define_symbols(LLVMOrcDefinitionGeneratorRef generator, void *context,
                                   LLVMOrcLookupStateRef *state, LLVMOrcLookupKind kind,
                                   LLVMOrcJITDylibRef dylib, LLVMOrcJITDylibLookupFlags flags,
                                   LLVMOrcCLookupSet wanted, size_t count) {
    (void)generator, (void)state, (void)kind, (void)flags;
    for (size_t i = 0; i < count; i++) {
        const char *name = LLVMOrcSymbolStringPoolEntryStr(wanted[i].Name);
        void *address = ((const JitCode *)context)->resolve(name);
        if (!address) address = math_symbol(name);
        if (!address) continue;
        LLVMOrcRetainSymbolStringPoolEntry(wanted[i].Name);
        LLVMJITEvaluatedSymbol symbol = {(LLVMOrcJITTargetAddress)(uintptr_t)address,
                                         {LLVMJITSymbolGenericFlagsExported, 0}};
        LLVMOrcCSymbolMapPair pair = {wanted[i].Name, symbol};
        LLVMErrorRef error = LLVMOrcJITDylibDefine(dylib, LLVMOrcAbsoluteSymbols(&pair, 1));
        if (error) return error;
    }
    return LLVMErrorSuccess;
}

static LLVMOrcObjectLayerRef debug_object_layer(void *context, LLVMOrcExecutionSessionRef session,
                                                const char *triple) {
    (void)context, (void)triple;
    LLVMOrcObjectLayerRef layer = LLVMOrcCreateRTDyldObjectLinkingLayerWithSectionMemoryManager(session);
    LLVMOrcRTDyldObjectLinkingLayerRegisterJITEventListener(layer, LLVMCreateGDBRegistrationListener());
    return layer;
}

static FraxStatus add_generators(JitCode *code, FraxError *err) {
    LLVMOrcLLJITRef jit = code->jit;
    LLVMOrcJITDylibRef dylib = LLVMOrcLLJITGetMainJITDylib(jit);
    LLVMOrcDefinitionGeneratorRef process;
    LLVMOrcJITDylibAddGenerator(dylib,
                                LLVMOrcCreateCustomCAPIDefinitionGenerator(define_symbols, code, NULL));
    LLVMErrorRef error = LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
        &process, LLVMOrcLLJITGetGlobalPrefix(jit), NULL, NULL);
    if (error) return take_error(error, err, "linking");
    LLVMOrcJITDylibAddGenerator(dylib, process);
    return FRAX_OK;
}

/* perf reads /tmp/perf-PID.map: start, size and name of each function, in hexadecimal. */
static void write_perf_map(const JitCode *code, const char *object, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRange(object, size, "frax", 0);
    char *message = NULL;
    LLVMBinaryRef binary = LLVMCreateBinary(buffer, NULL, &message);
    FILE *map = binary ? fopen(path, "a") : NULL;
    if (map) {
        LLVMSymbolIteratorRef symbol = LLVMObjectFileCopySymbolIterator(binary);
        for (; !LLVMObjectFileIsSymbolIteratorAtEnd(binary, symbol); LLVMMoveToNextSymbol(symbol)) {
            const char *name = LLVMGetSymbolName(symbol);
            void *address = strncmp(name, "frax_k", 6) ? NULL : jit_function(code, name);
            if (address)
                fprintf(map, "%lx %lx %s\n", (unsigned long)(uintptr_t)address,
                        (unsigned long)LLVMGetSymbolSize(symbol), name);
        }
        LLVMDisposeSymbolIterator(symbol);
        fclose(map);
    }
    LLVMDisposeMessage(message);
    if (binary) LLVMDisposeBinary(binary);
    LLVMDisposeMemoryBuffer(buffer);
}

FraxStatus jit_link(const char *object, size_t size, SymbolResolver *resolve, bool debug, JitCode **out,
                    FraxError *err) {
    pthread_once(&llvm_once, initialize_llvm);
    JitCode *code = mem_calloc(1, sizeof *code);
    if (!code) return fail_memory(err, "linking");
    code->resolve = resolve;
    LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
    if (debug) LLVMOrcLLJITBuilderSetObjectLinkingLayerCreator(builder, debug_object_layer, NULL);
    LLVMErrorRef error = LLVMOrcCreateLLJIT(&code->jit, builder);
    FraxStatus status = error ? take_error(error, err, "starting the linker") : add_generators(code, err);
    if (!status) {
        LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object, size, "frax");
        error = LLVMOrcLLJITAddObjectFile(code->jit, LLVMOrcLLJITGetMainJITDylib(code->jit), buffer);
        if (error) status = take_error(error, err, "linking");
    }
    if (status) {
        jit_destroy(code);
        return status;
    }
    if (debug) write_perf_map(code, object, size);
    *out = code;
    return FRAX_OK;
}

void *jit_function(const JitCode *code, const char *name) {
    LLVMOrcExecutorAddress address = 0;
    LLVMErrorRef error = LLVMOrcLLJITLookup(code->jit, &address, name);
    if (error) LLVMConsumeError(error);
    return error ? NULL : (void *)(uintptr_t)address;
}

void jit_destroy(JitCode *code) {
    if (!code) return;
    if (code->jit) {
        LLVMErrorRef error = LLVMOrcDisposeLLJIT(code->jit);
        if (error) LLVMConsumeError(error);
    }
    mem_free(code);
}
