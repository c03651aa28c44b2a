// Logits of a GGUF file at every position, for bench/llama_cpp/logits.py: token ids in on stdin, logits out on stdout.
//
//   firebrick-logits MODEL CONTEXT THREADS
//
// It first writes the vocabulary's size. A question is two int32, `past` (tokens to keep in the cache) and `count`, and
// `count` int32 token ids; the answer is count * vocabulary float32. The cache is float32 and flash attention is off, so
// that nothing but the weights, and the activations' rounding, differs from a float model.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "llama.h"

static bool take(void * data, size_t size) { return std::fread(data, 1, size, stdin) == size; }

static void give(const void * data, size_t size) {
    if (std::fwrite(data, 1, size, stdout) != size) std::exit(3);
}

static void quiet(ggml_log_level level, const char * text, void *) {
    if (level == GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

int main(int argc, char ** argv) {
    if (argc != 4) return 2;
    llama_log_set(quiet, nullptr);
    llama_backend_init();
    llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model) return 2;
    const int context_length = std::atoi(argv[2]);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = params.n_batch = params.n_ubatch = context_length;
    params.n_threads = params.n_threads_batch = std::atoi(argv[3]);
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    llama_context * context = llama_init_from_model(model, params);
    if (!context) return 2;

    const int32_t vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    give(&vocabulary, sizeof vocabulary);
    std::fflush(stdout);
    llama_batch batch = llama_batch_init(context_length, 0, 1);
    for (int32_t head[2]; take(head, sizeof head);) {
        const int32_t past = head[0], count = head[1];
        if (past < 0 || count < 1 || past + count > context_length) return 2;
        if (!take(batch.token, count * sizeof(llama_token))) return 2;
        llama_memory_seq_rm(llama_get_memory(context), 0, past, -1);
        batch.n_tokens = count;
        for (int32_t i = 0; i < count; i++) {
            batch.pos[i] = past + i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = true;
        }
        if (llama_decode(context, batch)) return 2;
        for (int32_t i = 0; i < count; i++) {
            give(llama_get_logits_ith(context, i), vocabulary * sizeof(float));
        }
        std::fflush(stdout);
    }
    return 0;
}
