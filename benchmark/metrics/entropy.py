"""Entropy of the predictions: how sure a model is, right or wrong."""

from torch import Tensor

from benchmark.metrics.registry import register_metric


@register_metric("entropy_nats")
def entropy_nats(logits_EBLV: Tensor, tokens_EB: Tensor, scored_EBL: Tensor) -> Tensor:
    """Entropy of the predicted distribution, in nats, averaged over the scored positions.

    ln V is a uniform guess. On positions that can be predicted it falls to 0 once the pattern is learned, and a model
    that is sure of wrong tokens shows a low entropy beside a high loss.
    """
    log_p_EBLV = logits_EBLV.double().log_softmax(-1)
    entropy_EBL = -(log_p_EBLV.exp() * log_p_EBLV).nan_to_num(0.0).sum(-1)  # p ln p is 0 where p is
    return (entropy_EBL * scored_EBL).sum(-1) / scored_EBL.sum(-1)
