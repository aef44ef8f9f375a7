"""Small encoders of every family, with random weights."""

import torch
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    MPNetConfig,
    MPNetModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

SIZE = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
        "max_position_embeddings": 66}
FAMILIES = {
    "bert": lambda: BertModel(BertConfig(**SIZE)),
    "mpnet": lambda: MPNetModel(MPNetConfig(**SIZE)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZE)),
    "distilbert": lambda: DistilBertModel(DistilBertConfig(
        vocab_size=99, dim=32, n_layers=2, n_heads=2, hidden_dim=64, max_position_embeddings=66
    )),
    "albert": lambda: AlbertModel(AlbertConfig(**SIZE, embedding_size=16)),
}
ROWS = [[5, 6, 7], [8] * 20, [9], list(range(10, 40)), [5, 6, 7]]


def saved(family, folder):
    """transformers' own model of a family, saved to `folder`, with weights large enough to tell tokens apart."""
    torch.manual_seed(0)
    model = FAMILIES[family]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    model.save_pretrained(folder)
    return model


def wanted(model, row):
    """What transformers gives for a row: float32[tokens, hidden]."""
    with torch.inference_mode():
        return model(input_ids=torch.tensor([row])).last_hidden_state[0].numpy()
